"""Text files that people hand in (prompts, goldens): read with a size limit, as UTF-8, and checked."""

from pathlib import Path

from orchestrator.errors import BadSpec, PathRefused
from orchestrator.results.goldens import pair_in
from orchestrator.results.prompts import MOST_LINES, lines_of, questions_in

FILE_LIMIT = 64 * 1024**2
"""Largest prompt or golden file; they are texts that people write."""

LONGEST_NAME = 180
"""Bytes; a file system takes 255, and tools add to a name."""


def read_text_file(path: Path, field: str) -> bytes:
    """The bytes of a file that people write; PathRefused or BadSpec if they cannot be had, or are too many."""
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_LIMIT + 1)
    except OSError as trouble:
        raise PathRefused(f"{path} cannot be read: {trouble.strerror}", field=field) from None
    if len(content) > FILE_LIMIT:
        raise BadSpec(f"{path.name} is larger than {FILE_LIMIT >> 20} MiB", field=field)
    return content


def check_prompts(content: bytes, field: str) -> None:
    """BadSpec unless the file holds at least one question, one a line, in UTF-8."""
    prompts_in(content, field)


def check_golden(content: bytes, field: str) -> None:
    """BadSpec unless every line is a JSON object with the texts `question` and `answer` (or `response`)."""
    if not golden_in(content, field):
        raise BadSpec('the file holds no answer: write {"question": …, "answer": …}, one a line', field=field)


def golden_in(content: bytes, field: str) -> list[tuple[str, str]]:
    """The questions and answers of a golden that is JSON lines; BadSpec as in `check_golden`, but for an empty one."""
    lines = enumerate(lines_of(text_of(content, field)), start=1)
    return [pair_in(line, number, field) for number, line in lines if line.strip()]


def prompts_in(content: bytes, field: str) -> list[str]:
    """The questions of a prompts file; BadSpec as in `check_prompts`."""
    found = questions_in(text_of(content, field))
    if not found:
        raise BadSpec("the file holds no question: write one a line", field=field)
    return found


def text_of(content: bytes, field: str) -> str:
    """The bytes as text; BadSpec if they are not UTF-8, or hold NUL."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as trouble:
        raise BadSpec(
            f"the file is not UTF-8: byte {trouble.start} is 0x{content[trouble.start]:02x}", field=field
        ) from None
    if "\0" in text:
        raise BadSpec("the file holds NUL characters: it is not a text", field=field)
    if text.count("\n") + text.count("\r") > MOST_LINES:
        raise BadSpec(f"the file has more than {MOST_LINES} lines", field=field)
    return text


def safe_name(path: Path) -> str:
    """A file name that no tool can take for a flag, short enough for every file system, which count its bytes."""
    cleaned = "".join(c if c.isalnum() or c in "._-" else "_" for c in path.name)[:100].lstrip("-.")
    return cleaned.encode()[:LONGEST_NAME].decode("utf-8", "ignore") or "file"
