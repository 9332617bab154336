"""Text files that people hand in (prompts, goldens): read with a size limit, as UTF-8, and checked."""

from pathlib import Path

from orchestrator.errors import BadSpec, PathRefused
from orchestrator.results.goldens import pair_in

FILE_LIMIT = 64 * 1024**2
"""Largest prompt or golden file; they are texts that people write."""


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
    if not any(line.strip() for line in text_of(content, field).split("\n")):
        raise BadSpec("the file holds no question: write one a line", field=field)


def check_golden(content: bytes, field: str) -> None:
    """BadSpec unless every line is a JSON object with the texts `question` and `answer` (or `response`)."""
    # Not splitlines(): inside a JSON string, U+2028 and its kin are characters like any other.
    lines = [(number, line) for number, line in enumerate(text_of(content, field).split("\n"), start=1) if line.strip()]
    if not lines:
        raise BadSpec('the file holds no answer: write {"question": …, "answer": …}, one a line', field=field)
    for number, line in lines:
        pair_in(line, number, field)


def prompts_in(content: bytes, field: str) -> list[str]:
    """The questions of a prompts file; BadSpec as in `check_prompts`."""
    check_prompts(content, field)
    return [line.strip() for line in text_of(content, field).split("\n") if line.strip()]


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
    return text


def safe_name(path: Path) -> str:
    """A file name that no tool can take for a flag."""
    cleaned = "".join(c if c.isalnum() or c in "._-" else "_" for c in path.name)[:100].lstrip("-.")
    return cleaned or "file"
