"""The command lines that README and docs show, as they are typed."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))

_BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.MULTILINE | re.DOTALL)
_PROGRAM = re.compile(r"^(tx81|make|python|curl|docker|pip) ")


@dataclass(frozen=True)
class Command:
    """One command line of a page, with its continuation lines."""

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def commands_of(page: Path) -> list[Command]:
    """The command lines in the blocks of a page: after `$ ` in `console`, every line in `sh` and `bash`; in blocks
    without a language, those that begin with a program."""
    found = []
    for language, block in _BLOCK.findall(page.read_text("utf-8")):
        lines = block.replace("\\\n", " ").splitlines()
        if language == "console":
            typed = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        elif language in ("sh", "bash"):
            typed = [line for line in lines if line.strip() and not line.startswith("#")]
        else:
            typed = [line for line in lines if language == "" and _PROGRAM.match(line)]
        found += [Command(page.relative_to(ROOT).as_posix(), _without_remark(line)) for line in typed]
    return found


def _without_remark(line: str) -> str:
    return re.sub(r"\s+#\s.*$", "", line).strip()
