"""Regular expressions in documents that people write, refused where they are written and not where they are used.

Python cannot interrupt a pattern that tries for ever. What a pattern may cost is told from its form: `steps` is used to
decide whether it may be tried in the process that needs the answer (`workers.processes.matching`).
"""

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Iterator
from functools import cache
from math import inf
from typing import Annotated, Any

from pydantic import AfterValidator

LONGEST = 2000
"""Characters of a pattern."""

_MANY = 32
"""A repeat of up to so many times counts as bounded."""

_REPEATS = (sre.MAX_REPEAT, sre.MIN_REPEAT)
_OVER_LINES = (sre.CATEGORY_NOT_DIGIT, sre.CATEGORY_SPACE, sre.CATEGORY_NOT_SPACE, sre.CATEGORY_NOT_WORD)


def _regex(text: str) -> str:
    if len(text) > LONGEST:
        raise ValueError(f"a pattern has at most {LONGEST} characters")
    try:
        re.compile(text)
    except (re.error, RecursionError, OverflowError, MemoryError) as trouble:
        raise ValueError(f"not a regular expression: {trouble}") from None
    return text


Pattern = Annotated[str, AfterValidator(_regex)]


def steps(pattern: str, text: str) -> float:
    """How many steps a search may take at most, roughly; infinite where it may double with every character."""
    repeats, over_lines, runaway = _form(pattern)
    if runaway:
        return inf
    if not repeats:
        return len(text)
    power = min(repeats + 1, 8)
    if over_lines:
        return float(len(text)) ** power
    return sum(float(len(line)) ** power for line in text.split("\n"))


@cache
def _form(pattern: str) -> tuple[int, bool, bool]:
    """How many repeats without bound it has, whether one can go over a line's end, and whether one is in another."""
    parsed = parser.parse(pattern)
    dotall = bool(parsed.state.flags & re.DOTALL) or re.search(r"\(\?[a-zA-Z]*s", pattern) is not None
    repeats, over_lines, runaway = 0, False, False
    for kind, value, repeated in _nodes(parsed, 0):
        if kind in _REPEATS and value[1] > _MANY:
            repeats += 1
            runaway = runaway or repeated > 0
        elif kind in _REPEATS or kind is sre.BRANCH:
            # An option or a choice in a repeat: two ways to match the same text.
            runaway = runaway or (repeated > 0 and (kind is sre.BRANCH or value[0] != value[1]))
        elif repeated and (
            kind in (sre.NOT_LITERAL, sre.NEGATE)
            or (kind is sre.ANY and dotall)
            or (kind is sre.CATEGORY and value in _OVER_LINES)
        ):
            over_lines = True
        runaway = runaway or kind is sre.GROUPREF
    return repeats, over_lines, runaway


def _nodes(parsed: Any, repeated: int) -> Iterator[tuple[Any, Any, int]]:
    """Every part of a parsed pattern, and in how many repeats without bound it stands."""
    for kind, value in parsed:
        yield kind, value, repeated
        inner = repeated + (kind in _REPEATS and value[1] > _MANY)
        for part in value if isinstance(value, tuple | list) else (value,):
            if isinstance(part, parser.SubPattern):
                yield from _nodes(part, inner)
            elif kind is sre.BRANCH and isinstance(part, list):
                for branch in part:
                    yield from _nodes(branch, inner)
        if kind is sre.IN:
            yield from ((each, detail, repeated) for each, detail in value)
