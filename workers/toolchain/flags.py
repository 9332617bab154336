"""The flags that a tool's help offers, against those that a profile uses: pure.

Written for the layout of argparse: a usage section, then one entry an option, its flags before two spaces or the end of
the line. A flag that is only mentioned in a description is not offered.
"""

import re
from collections.abc import Collection, Iterator, Sequence

from orchestrator.model.profile import KindProfile
from orchestrator.model.release_checks import Finding, Level

_FLAG = r"--?[A-Za-z][A-Za-z0-9._-]*"
_ENTRY = re.compile(rf"^\s*{_FLAG}(?=[\s,=\[]|$)")
_BACKEND_TYPE = "{backend_type}"
_MOST_TOLD = 40


def compare(about: str, kind: KindProfile, said: str, backend_types: Collection[str]) -> Iterator[Finding]:
    """What the help of a kind's tool says about how the profile calls it."""
    known, wanted = offered(said), used(kind)
    if not known:
        yield Finding(level=Level.ERROR, about=about, detail="its help names no flags")
        return
    strange = [flag for flag in wanted if flag not in known]
    for flag in strange:
        instead = _instead(flag, known)
        why = f", but its help has {instead}" if instead else ", which its help does not know"
        yield Finding(
            level=Level.ERROR, about=about, detail=f"the profile uses {flag}{why}", flag=flag, instead=instead
        )
    if not strange:
        yield Finding(level=Level.OK, about=about, detail=f"its help knows {', '.join(wanted) or 'it'}")
    if spare := sorted(_unused(said, wanted)):
        yield Finding(level=Level.NOTE, about=about, detail=f"also offers {', '.join(spare[:_MOST_TOLD])}")
    if _BACKEND_TYPE in kind.argv:
        yield from _types(about, kind.argv[kind.argv.index(_BACKEND_TYPE) - 1], said, backend_types)


def offered(said: str) -> set[str]:
    """Every flag of the usage section and of the entries."""
    return set(re.findall(rf"(?<![\w-]){_FLAG}", _usage(said))).union(*map(_flags_of, _entries(said)))


def used(kind: KindProfile) -> list[str]:
    """The flags that the profile gives to the tool itself, not to a shell before it."""
    (*_, program) = [word for word in kind.help if not word.startswith("-")]
    argv = list(kind.argv)
    own = argv[argv.index(program) + 1 :] if program in argv else argv
    listen = () if kind.serve is None else kind.serve.listen
    words = [*own, *(word for extra in kind.optional.values() for word in extra), *listen]
    found = [match[0] for word in words if (match := re.match(rf"{_FLAG}(?=$|=)", word))]
    return list(dict.fromkeys(found))


def values_of(flag: str, said: str) -> list[str]:
    """What the entry of a flag lists as its values, in `{…}` or `[…]`; nothing if it lists none."""
    for entry in _entries(said):
        if flag in _flags_of(entry) and (listed := re.search(r"[{\[]([^}\]]*,[^}\]]*)[}\]]", entry)):
            return [value for part in listed[1].split(",") if (value := part.strip(" \n\t'\"“”"))]
    return []


def _types(about: str, flag: str, said: str, backend_types: Collection[str]) -> Iterator[Finding]:
    listed = values_of(flag, said)
    if not listed:
        yield Finding(level=Level.NOTE, about=about, detail=f"its help does not list the values of {flag}")
        return
    for name in sorted(set(backend_types) - set(listed)):
        yield Finding(level=Level.ERROR, about=about, detail=f"the profile's backend type {name} is none of {flag}")
    if unknown := sorted(set(listed) - set(backend_types)):
        detail = f"{flag} also takes {', '.join(unknown[:_MOST_TOLD])}: the profile has no such backend type"
        yield Finding(level=Level.NOTE, about=about, detail=detail)


def _usage(said: str) -> str:
    found = re.search(r"^usage:.*?(?:\n\s*\n|\Z)", said, re.DOTALL | re.MULTILINE | re.IGNORECASE)
    return found[0] if found else ""


def _entries(said: str) -> list[str]:
    """Each option with the lines of its description."""
    entries: list[str] = []
    open_entry = False
    for line in said.replace(_usage(said), "").splitlines():
        if _ENTRY.match(line):
            entries.append(line)
        elif open_entry and line.strip():
            entries[-1] += f"\n{line}"
        open_entry = bool(entries) and bool(line.strip())
    return entries


def _flags_of(entry: str) -> set[str]:
    head = re.split(r"\s{2,}|\n", entry.strip(), maxsplit=1)[0]
    return {match[1] for part in head.split(",") if (match := re.match(rf"\s*({_FLAG})", part))}


def _unused(said: str, wanted: Sequence[str]) -> Iterator[str]:
    """One name for each option of which no spelling is used."""
    for entry in _entries(said):
        flags = _flags_of(entry)
        if not flags & {*wanted, "--help"}:
            yield re.match(rf"\s*({_FLAG})", entry)[1]  # type: ignore[index]


def _instead(flag: str, known: Collection[str]) -> str | None:
    """The same word in another spelling, if there is one."""

    def plain(text: str) -> str:
        return text.strip("-").replace("_", "-")

    return min((other for other in known if plain(other) == plain(flag)), default=None)
