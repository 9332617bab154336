"""A text or pattern found in a whole log, one block of lines in memory at a time, within a time limit."""

import re
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import regex  # type: ignore[import-untyped]

from orchestrator.errors import BadRequest
from orchestrator.storage.attempt_logs import AttemptLog

BLOCK = 1 << 20
LONGEST_SEARCH = 10.0
"""Seconds of one search: a text is found in 100 MB in about one."""

MOST_NUMBERS = 1000
"""Numbers of lines that are given on either side of the line that a search is about."""

FIRST_ERROR = r"\b(?:[a-z]*error|traceback|fatal)\b"
"""What an error looks like in a log, case ignored, when nothing better is known."""

_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


@dataclass(frozen=True)
class LogQuery:
    """What is searched for: a text, or a regular expression, within single lines."""

    text: str
    pattern: bool = False
    case: bool = False
    """Whether upper and lower case differ."""


@dataclass
class Found:
    """Lines with a match: how many, and the numbers of those next to a line."""

    matches: int = 0
    before: deque[int] = field(default_factory=lambda: deque(maxlen=MOST_NUMBERS))
    after: list[int] = field(default_factory=list)
    earlier: int = 0
    """How many of them are before the first number that is given."""
    complete: bool = True
    """False if the time limit ended the search."""

    @property
    def numbers(self) -> list[int]:
        """The numbers, in order; the first line is number 1."""
        return [*self.before, *self.after]


def search(log: AttemptLog, wanted: LogQuery, *, near: int = 1, first_only: bool = False) -> Found:
    """Search all lines. BadRequest if the pattern is none. `near` is the line whose neighbours are given."""
    until = time.monotonic() + LONGEST_SEARCH
    found = Found()
    try:
        for number in _matching(log, _finder(wanted, until), until):
            found.matches += 1
            if number >= near:
                if len(found.after) < MOST_NUMBERS:
                    found.after.append(number)
            else:
                found.earlier += len(found.before) == MOST_NUMBERS
                found.before.append(number)
            if first_only:
                break
    except TimeoutError:
        found.complete = False
    return found


class _Text:
    """Finds a text."""

    def __init__(self, wanted: LogQuery) -> None:
        self._text, self._case = (wanted.text if wanted.case else wanted.text.lower()), wanted.case

    def prepared(self, block: str) -> str:
        """The block as it is searched: with as many lines."""
        return block if self._case else block.lower()

    def lines(self, block: str) -> Iterator[int]:
        """A place in each line with a match."""
        position = block.find(self._text)
        while position >= 0:
            yield position
            end = block.find("\n", position)
            position = -1 if end < 0 else block.find(self._text, end)


class _Pattern:
    """Finds a regular expression, and gives up when the time is over."""

    def __init__(self, wanted: LogQuery, until: float) -> None:
        flags = regex.MULTILINE | (0 if wanted.case else regex.IGNORECASE)
        try:
            self._pattern: Any = regex.compile(wanted.text, flags)
        except (regex.error, OverflowError, RecursionError) as wrong:
            raise BadRequest(f"not a regular expression: {wrong}", field="q") from None
        self._until = until

    def prepared(self, block: str) -> str:
        """The block as it is searched: with as many lines."""
        return block

    def lines(self, block: str) -> Iterator[int]:
        """A place in each line with a match; a match is within one line. TimeoutError."""
        position = 0
        while (match := self._search(block, position, len(block))) is not None:
            begin = block.rfind("\n", 0, match.start()) + 1
            end = block.find("\n", match.start())
            end = len(block) if end < 0 else end
            # What reaches over the end of its line may still match within it.
            if match.end() <= end or self._search(block, max(begin, position), end) is not None:
                yield begin
            if end >= len(block):
                return
            position = end + 1

    def _search(self, block: str, start: int, end: int) -> Any:
        left = self._until - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return self._pattern.search(block, start, end, timeout=left, concurrent=True)


def _finder(wanted: LogQuery, until: float) -> _Text | _Pattern:
    if not wanted.text or "\n" in wanted.text:
        raise BadRequest("give a text of one line to search for", field="q")
    return _Pattern(wanted, until) if wanted.pattern else _Text(wanted)


def _matching(log: AttemptLog, finder: _Text | _Pattern, until: float) -> Iterator[int]:
    """The numbers of all lines with a match, each once."""
    last = 0
    for before, raw in _blocks(log):
        block = finder.prepared(raw)
        if time.monotonic() > until:
            raise TimeoutError
        number, counted = before + 1, 0
        for position in finder.lines(block):
            number, counted = number + block.count("\n", counted, position), position
            if number > last:
                last = number
                yield number


def _blocks(log: AttemptLog) -> Iterator[tuple[int, str]]:
    """The text in blocks of whole lines, but for those that are longer, each with the number of lines before it.

    A block ends without the newline of its last line."""
    before, rest = 0, b""
    for _, raw in log.pieces(0, log.size(), BLOCK):
        whole, newline, rest = (rest + raw).rpartition(b"\n")
        if not newline and len(rest) >= BLOCK:
            whole, rest = rest, b""
        if whole or newline:
            yield before, _text(whole)
            before += whole.count(b"\n") + len(newline)
    if rest:
        yield before, _text(rest)


def _text(raw: bytes) -> str:
    text = raw.decode("utf-8", "replace")
    return _ESCAPES.sub("", text) if "\x1b" in text else text
