"""One row of what a tool wrote → the columns of an answer, by the keys or the named groups of the profile."""

import re
from dataclasses import dataclass
from typing import Any, TypeVar

from orchestrator.comparison.answers import GivenAnswer
from orchestrator.model.profile import AnswersRule, JsonAnswers, TextAnswers
from workers.toolchain.rows import BadAnswers, Row

T = TypeVar("T")

_LARGEST = 2**31 - 1
"""Of any whole number that goes into a column."""


@dataclass(frozen=True)
class Unplaced:
    """An answer, with its number and its repeat as far as the tool tells them."""

    given: GivenAnswer
    index: int | None
    repeat: int | None


def answer_in(row: Row, rule: AnswersRule) -> Unplaced:
    """The answer that a row tells; BadAnswers if it is none. Numbers that make no sense are left out."""
    found = _Columns(row, rule)
    index, repeat = found.place("index", first=rule.counts_from), found.place("repeat")
    if isinstance(rule, JsonAnswers):
        index, repeat = found.needed("index", index), found.needed("repeat", repeat)
    given = GivenAnswer(
        repeat=repeat or 0,
        index=index or 0,
        question=found.needed("question", found.string("question")),
        text=found.needed("text", found.string("text")),
        prompt_tokens=found.whole("prompt_tokens"),
        output_tokens=found.whole("output_tokens"),
        seconds=found.real("seconds"),
        ttft_seconds=found.real("ttft_seconds"),
        finish_reason=(found.string("finish_reason") or "")[:40] or None,
        batch=found.place("batch") or 0,
        batch_size=found.place("batch_size"),
    )
    return Unplaced(given, index, repeat)


def storable(text: str) -> str:
    """Without the two things that SQL text cannot hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


class _Columns:
    """Our columns of one row; what the row does not tell of its place may be in the name of its file."""

    def __init__(self, row: Row, rule: AnswersRule) -> None:
        self._row = row
        self._keys = rule.keys()
        self._is_text = isinstance(rule, TextAnswers)
        named = None if rule.file_name is None else re.search(rule.file_name, row.file.name)
        self._named: dict[str, str | None] = {} if named is None else named.groupdict()

    def place(self, column: str, *, first: int = 0) -> int | None:
        """A number that says where the answer belongs, counted from 0; BadAnswers if something else stands there."""
        told, named = self._row.values.get(self._keys.get(column, "")), self._named.get(column)
        if told is not None:
            number = self.needed(column, self.whole(column))
        elif named is not None:
            number = self.needed(column, _whole(_number(named)))
        else:
            return None
        return self.needed(column, _whole(number - first))

    def whole(self, column: str) -> int | None:
        """A number of tokens and its like."""
        return _whole(self._number_in(column))

    def real(self, column: str) -> float | None:
        """A time in seconds."""
        value = self._number_in(column)
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
            return None
        return float(value)

    def string(self, column: str) -> str | None:
        """A text, as SQL can hold it."""
        value = self._value(column)
        return storable(value) if isinstance(value, str) else None

    def needed(self, column: str, value: T | None) -> T:
        """The value; BadAnswers without one."""
        if value is None:
            raise BadAnswers(f"{self._row.where} has no usable {self._keys.get(column, column)!r}")
        return value

    def _number_in(self, column: str) -> Any:
        value = self._value(column)
        return _number(value) if self._is_text else value

    def _value(self, column: str) -> Any:
        key = self._keys.get(column)
        return None if key is None else self._row.values.get(key)


def _number(text: str | None) -> int | float | None:
    """A number as people write it in a text; None for what is none."""
    if text is None or not re.fullmatch(r"[0-9]{1,15}(\.[0-9]{1,15})?", text.strip()):
        return None
    return float(text) if "." in text else int(text)


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _LARGEST else None
