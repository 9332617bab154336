"""Text files that people hand in (prompts, goldens): UTF-8, bounded, and checked. Pure: bytes in, questions out."""

from typing import Literal

from orchestrator.errors import BadSpec
from orchestrator.results.goldens import pair_in
from orchestrator.results.prompts import MOST_LINES, lines_of, questions_in

FILE_LIMIT = 64 * 1024**2
"""Largest prompt or golden file; they are texts that people write."""

TextFile = Literal["prompts", "golden"]
"""What a file that people write is for."""


def check(name: TextFile, content: bytes, field: str) -> None:
    """BadSpec unless the content is what the input called `name` takes."""
    if len(content) > FILE_LIMIT:
        raise BadSpec(f"the file is larger than {FILE_LIMIT >> 20} MiB", field=field)
    (check_golden if name == "golden" else check_prompts)(content, field)


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
