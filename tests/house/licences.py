"""The licences of what the product needs at run time, from the metadata of the installed packages.

`python tests/house/licences.py` writes the tables of `docs/licences.md` anew.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = "tx81-orchestrator"
EXTRAS = ("", "embedded")
PAGE = Path(__file__).parents[2] / "docs" / "licences.md"

_COPYLEFT = re.compile(
    r"GPL|MPL|Mozilla Public|EPL|Eclipse Public|CDDL|EUPL|OSL|CC-BY-SA|General Public", re.IGNORECASE
)
_ROW = re.compile(r"^\| (?!package )(?P<name>[a-z0-9-]+) \| (?P<licence>[^|]+) \|$", re.MULTILINE)
_LONGEST_FIELD = 60
"""Characters of a `License` field that is a name, and not the text of a licence."""


@dataclass(frozen=True, order=True)
class Package:
    """A package and its licence, as its metadata has it."""

    name: str
    licence: str

    @property
    def is_copyleft(self) -> bool:
        """Whether it must be passed on under its own terms."""
        return _COPYLEFT.search(self.licence) is not None


def needed(extras: Sequence[str] = EXTRAS) -> list[Package]:
    """Every package that is installed with the product and these extras on this platform."""
    found: dict[str, Package] = {}
    pending = [(PROJECT, extra) for extra in extras]
    seen = set(pending)
    while pending:
        name, extra = pending.pop()
        package = distribution(name)
        found[name] = Package(name, licence_of(package))
        for needed_next in _requirements(package, extra):
            if needed_next not in seen:
                seen.add(needed_next)
                pending.append(needed_next)
    del found[PROJECT]
    return sorted(found.values())


def licence_of(package: Distribution) -> str:
    """The licence in few words; empty if the metadata has none."""
    told = package.metadata
    classifiers = [
        each.rpartition(" :: ")[2] for each in told.get_all("Classifier", ()) if each.startswith("License ::")
    ]
    field = (told.get("License") or "").strip()
    named = field if len(field) <= _LONGEST_FIELD and "\n" not in field else ""
    return told.get("License-Expression") or named or ", ".join(classifiers)


def listed(page: str) -> list[Package]:
    """The packages of a page."""
    return sorted(Package(row["name"], row["licence"]) for row in _ROW.finditer(page))


def tables(packages: list[Package]) -> str:
    """Both tables of the page."""
    copyleft = [package for package in packages if package.is_copyleft]
    other = [package for package in packages if not package.is_copyleft]
    return f"## Copyleft\n\n{_table(copyleft)}\n## Others\n\n{_table(other)}"


def _table(packages: list[Package]) -> str:
    rows = "".join(f"| {package.name} | {package.licence} |\n" for package in packages)
    return f"| package | licence |\n|---|---|\n{rows}"


def _requirements(package: Distribution, extra: str) -> Iterator[tuple[str, str]]:
    for text in package.requires or ():
        requirement = Requirement(text)
        if requirement.marker is None or requirement.marker.evaluate({"extra": extra}):
            name = canonicalize_name(requirement.name)
            yield name, ""
            yield from ((name, wanted) for wanted in requirement.extras)


if __name__ == "__main__":
    before = PAGE.read_text().partition("## Copyleft")[0]
    PAGE.write_text(before + tables(needed()))
