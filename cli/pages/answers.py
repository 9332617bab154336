"""How answers differ from their golden ones, as text."""

import difflib
from collections.abc import Iterable, Iterator
from itertools import islice

from rich.console import RenderableType
from rich.text import Text

from api.documents.answers import AnswerView
from cli.pages.layout import clean
from orchestrator.results.texts import first_difference

_AROUND = 20
"""Characters shown on each side of the first difference."""

_MOST_LINES = 40
"""Lines of one difference; the whole texts are in the JSON document."""

_MOST_COMPARED = 2_000
"""Lines of each text that are compared: what is longer would take seconds."""

_STYLE = {"-": "red", "+": "green"}


def answer_differences(answers: Iterable[AnswerView]) -> Iterator[RenderableType]:
    """For each answer that differs from its golden one: where, and the lines that differ (- golden, + answer)."""
    for answer in answers:
        if answer.golden is not None and answer.text != answer.golden:
            yield Text(f"\n{_which(answer)}", style="bold")
            yield Text(_where(answer.golden, answer.text))
            yield from _lines(answer.golden, answer.text)


def _which(answer: AnswerView) -> str:
    repeat = f" repeat {answer.repeat}" if answer.repeat > 1 else ""
    place = f" on {answer.slot_id}" if answer.slot_id else ""
    return clean(f"question {answer.index}{repeat}{place}: {answer.question}")


def _where(golden: str, text: str) -> str:
    at = first_difference(golden, text) or 0
    before, after = (_around(each, at) for each in (golden, text))
    return clean(f"first differing character {at}: golden {before!r}, answer {after!r}")


def _around(text: str, at: int) -> str:
    return text[max(at - _AROUND, 0) : at + _AROUND]


def _lines(golden: str, text: str) -> Iterator[Text]:
    old, new = (each.split("\n")[:_MOST_COMPARED] for each in (golden, text))
    found = islice(difflib.unified_diff(old, new, n=1, lineterm=""), 2, None)  # without the names of two files
    shown = list(islice(found, _MOST_LINES + 1))
    yield from (Text(clean(line), style=_STYLE.get(line[:1], "")) for line in shown[:_MOST_LINES])
    if len(shown) > _MOST_LINES:
        yield Text(f"(more lines differ than {_MOST_LINES}; all of both texts: -o json)")
