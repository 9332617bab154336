"""JSON from outside, in request bodies and in files: read strictly, or refused with the place. Pure.

Refused is what our columns cannot store or what is certainly a mistake: NUL, halves of surrogate pairs, NaN and
infinity, numbers beyond what an integer column holds, unlimited nesting, more values than any of our documents has, and
a key that is given twice, of which one would be lost silently. Brackets are counted before any object is built.
"""

import json
import math
import re
from typing import Any

DEEPEST = 64
"""Levels of nesting a document may have; ours have six."""

LARGEST_INTEGER = 2**63 - 1
"""The largest value of an integer column."""

_LONGEST_INTEGER = 20
"""Number of characters of the largest integer with its sign."""

MOST_VALUES = 1_000_000

MOST_KEYS = 10_000
"""Limit for one object: our documents have tens, and every unknown key costs a line in the refusal."""

Place = tuple[str | int, ...]
"""The path of a value: the keys and indices that lead to it."""

_STRING = re.compile(r'"[^"]*"?')
"""A string without escapes; one that does not end reaches to the end of the text. No character is looked at twice: a
string of quotes that does not end would otherwise be tried from each of them."""
_BRACKET = re.compile(r"[\[\]{}]")
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}:,\n]', re.DOTALL)


class BadDocument(ValueError):
    """The document is refused: what is wrong, where in it, and on which line if that is known."""

    def __init__(self, what: str, place: Place = (), line: int | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.place = place
        self.line = line

    @property
    def field(self) -> str | None:
        """The place, dotted; None for the document as a whole."""
        return ".".join(map(str, self.place)) or None

    def __str__(self) -> str:
        where = (None if self.line is None else f"line {self.line}", self.field)
        return ": ".join([*(part for part in where if part), self.what])


def loads(content: bytes | str, *, most_values: int = MOST_VALUES, largest: float = LARGEST_INTEGER) -> Any:
    """The document; JSONDecodeError if it is not JSON, BadDocument for what is JSON and refused.

    `largest` is the largest fraction; integers are limited to `LARGEST_INTEGER`."""
    text = _text_of(content) if isinstance(content, bytes) else content
    _refuse_large(text, most_values)
    try:
        document = json.loads(text, parse_constant=_no_constant, object_pairs_hook=_once)
    except (json.JSONDecodeError, BadDocument):
        raise
    except _Twice:
        raise _second_in(text) from None
    except RecursionError:
        raise BadDocument(f"it is nested deeper than {DEEPEST} levels") from None
    except ValueError:  # more digits than Python reads at once: a second reading finds where they are
        check(json.loads(text, parse_int=_integer), largest=largest)
        raise BadDocument("a number is too large") from None
    check(document, largest=largest)
    return document


def check(document: Any, *, largest: float = LARGEST_INTEGER) -> None:
    """BadDocument unless every value is allowed in a document, in whatever notation it was written."""
    # With an explicit stack: the document may be deep.
    pending: list[tuple[Any, Place]] = [(document, ())]
    while pending:
        value, place = pending.pop()
        if len(place) > DEEPEST:
            raise BadDocument(f"it is nested deeper than {DEEPEST} levels", place[:3])
        if isinstance(value, dict):
            for key in value:
                check_text(key, place)
            pending += [(inner, (*place, key)) for key, inner in value.items()]
        elif isinstance(value, list):
            pending += [(inner, (*place, index)) for index, inner in enumerate(value)]
        elif isinstance(value, str):
            check_text(value, place)
        elif isinstance(value, float):
            if not (math.isfinite(value) and abs(value) <= largest):
                raise BadDocument("the number is too large", place)
        elif isinstance(value, int) and abs(value) > LARGEST_INTEGER:
            raise BadDocument("the number is too large", place)


def check_text(text: str, place: Place = ()) -> None:
    """BadDocument if SQL cannot hold the text."""
    if "\0" in text:
        raise BadDocument("the text holds a NUL character", place)
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        raise BadDocument("the text holds half of a surrogate pair", place)


def _text_of(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadDocument(f"it is not UTF-8 at byte {error.start}") from None


def _refuse_large(text: str, most_values: int) -> None:
    """Check only brackets and commas, before any object is built.

    First a fast count in C, which includes the contents of strings: no other thread runs during a slow one."""
    if (text.count('"') - text.count('\\"')) // 4 > most_values:
        raise BadDocument(f"it has more than {most_values} values")  # as many strings, at most half of them keys
    opening = text.count("[") + text.count("{")
    if opening <= DEEPEST and opening + text.count(",") <= most_values:
        return
    unescaped = text.replace("\\\\", "").replace(
        '\\"', ""
    )  # in this order, as escapes are read: from the left, in pairs
    signs = _STRING.sub("", unescaped)
    opening = signs.count("[") + signs.count("{")
    if opening + signs.count(",") > most_values:
        raise BadDocument(f"it has more than {most_values} values")
    if opening <= DEEPEST:
        return
    depth = 0
    for bracket in _BRACKET.finditer(signs):  # one call to the next: other threads run between them
        depth += 1 if bracket[0] in "[{" else -1
        if depth > DEEPEST:
            raise BadDocument(f"it is nested deeper than {DEEPEST} levels")
        if depth < 0:  # it is no JSON, which the parser says
            return


class _Twice(Exception):
    """An object has a key twice."""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_KEYS:
        raise BadDocument(f"an object has more than {MOST_KEYS} keys")
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _integer(digits: str) -> float:
    """An integer, or infinity if it has too many digits."""
    return int(digits) if len(digits) <= _LONGEST_INTEGER else math.inf


def _no_constant(name: str) -> None:
    raise BadDocument(f"{name} is not JSON")


def _second_in(text: str) -> BadDocument:
    """The place of the key that the parser has found twice; the text is JSON up to there."""
    line, word, word_line = 1, "", 1
    place: list[str | int] = []
    seen: list[dict[str, int] | None] = []
    """For each open bracket: the lines of an object's keys, or None for a list."""
    for found in _TOKEN.finditer(text):
        match found.group():
            case "\n":
                line += 1
            case "[" | "{" as opens:
                seen.append({} if opens == "{" else None)
                place.append("" if opens == "{" else 0)
            case "]" | "}":
                seen.pop()
                place.pop()
            case "," if seen[-1] is None:
                place[-1] = int(place[-1]) + 1
            case ":" if (keys := seen[-1]) is not None:
                name = place[-1] = json.loads(word)
                if name in keys:
                    return twice((*place,), word_line, keys[name])
                keys[name] = word_line
            case string:
                word, word_line = string, line
                line += string.count("\n")
    return BadDocument("a key is given a second time")


def twice(place: Place, line: int, first: int) -> BadDocument:
    """The refusal of a repeated key."""
    return BadDocument(f"is given a second time; the first is on line {first}", place, line)
