"""One row of what a tool wrote → the columns of an answer, by the keys or the named groups of the profile."""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator.model.answer_rules import AnswersRule, TextAnswers
from orchestrator.results.answers import GivenAnswer
from workers.toolchain.rows import BadAnswers, Row

T = TypeVar("T")

_LARGEST = 2**31 - 1
"""Of any whole number that goes into a column."""


@dataclass(frozen=True)
class Unplaced:
    """An answer, with its number and its repeat as far as the tool reports them."""

    given: GivenAnswer
    index: int | None
    repeat: int | None


class Columns:
    """Reads rows as a profile says; what a row does not contain may be in the name of its file."""

    def __init__(self, rule: AnswersRule) -> None:
        self._keys = rule.keys()
        self._is_text = isinstance(rule, TextAnswers)
        self._counts_from = rule.counts_from
        self._in_name = None if rule.file_name is None else re.compile(rule.file_name)

    def answer_in(self, row: Row) -> Unplaced:
        """The answer that a row tells; BadAnswers if it is none. Numbers that make no sense are left out."""
        index, repeat = self._place(row, "index", first=self._counts_from), self._place(row, "repeat")
        if not self._is_text:
            # A key that the profile names is in every row.
            index, repeat = self._named(row, "index", index), self._named(row, "repeat", repeat)
        given = GivenAnswer(
            repeat=repeat or 0,
            index=index or 0,
            question=self._needed(row, "question", self._string(row, "question")),
            text=self._needed(row, "text", self._string(row, "text")),
            prompt_tokens=_whole(self._number(row, "prompt_tokens")),
            output_tokens=_whole(self._number(row, "output_tokens")),
            seconds=_seconds(self._number(row, "seconds")),
            ttft_seconds=_seconds(self._number(row, "ttft_seconds")),
            finish_reason=(self._string(row, "finish_reason") or "")[:40] or None,
            lane=self._place(row, "batch") or 0,
            batch_size=self._place(row, "batch_size"),
        )
        return Unplaced(given, index, repeat)

    def _place(self, row: Row, column: str, *, first: int = 0) -> int | None:
        """A number that says where the answer belongs, counted from 0; BadAnswers if something else stands there."""
        told, is_text = row.values.get(self._keys.get(column, "")), self._is_text
        if told is None:
            told, is_text = self._from_file_name(row, column), True
        if told is None:
            return None
        number = self._needed(row, column, _whole(_number_in(told) if is_text else told))
        return self._needed(row, column, _whole(number - first))

    def _from_file_name(self, row: Row, column: str) -> str | None:
        found = None if self._in_name is None else self._in_name.search(row.file.name)
        return None if found is None else found.groupdict().get(column)

    def _number(self, row: Row, column: str) -> Any:
        value = row.values.get(self._keys.get(column, ""))
        return _number_in(value) if self._is_text and value is not None else value

    def _string(self, row: Row, column: str) -> str | None:
        """A text, as SQL can hold it."""
        value = row.values.get(self._keys.get(column, ""))
        return storable(value) if isinstance(value, str) else None

    def _named(self, row: Row, column: str, value: T | None) -> T | None:
        return self._needed(row, column, value) if column in self._keys else value

    def _needed(self, row: Row, column: str, value: T | None) -> T:
        if value is None:
            raise BadAnswers(f"{row.where} has no usable {self._keys.get(column, column)!r}")
        return value


def storable(text: str) -> str:
    """Without the two things that SQL text cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def _number_in(text: str) -> int | float | None:
    """A number as people write it in a text; None for what is none."""
    if not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", text.strip()):
        return None
    return float(text) if "." in text else int(text)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST else None


def _seconds(value: Any) -> float | None:
    sound = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e9
    return float(value) if sound else None
