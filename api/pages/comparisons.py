"""Results side by side: the verdict, what was set differently, changed answers, metrics with their intervals."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response
from pydantic import StringConstraints

from api.context import Given
from api.documents.comparisons import ChangedAnswer, ComparedMetric, ComparedPromptView
from api.pages.differences import SideBySide, side_by_side
from api.pages.guard import pages
from api.pages.rendering import render
from api.parameters import Cursor
from api.routes import comparisons
from api.routes.comparisons import NO_FIELDS, Fields
from orchestrator.comparisons.subjects import MOST_SUBJECTS
from orchestrator.model.verdicts import AnswerRule

router = pages()

PROMPTS = 10
CHANGES = 3
"""Of one prompt that are shown side by side."""

SIDES = 12
"""Compared with the first that are shown with settings and metrics."""

WIDTH = 160
"""Of the picture of an interval, in its own units."""

USUALLY_ACROSS = ("model", "toolchain", "precision", "release", "kcore", "max_tokens")
"""Fields that are offered even where they do not differ."""

Word = Annotated[str, StringConstraints(pattern="^(((job|batch|pipeline|run):)?[0-9]{1,19})?$")]
NO_WORDS: list[str] = []


@dataclass(frozen=True)
class DrawnInterval:
    """The picture of a relative difference: places from 0 to `WIDTH`."""

    zero: float
    dot: float
    low: float | None
    high: float | None
    band: tuple[float, float] | None
    """Where a difference does not count."""
    share: float
    """The difference as a share of the median before."""


@dataclass(frozen=True)
class ShownChange:
    """A changed answer, both texts in parts."""

    change: ChangedAnswer
    texts: SideBySide


@router.get("/compare")
def compare(
    context: Given,
    request: Request,
    of: Annotated[list[Word], Query(max_length=MOST_SUBJECTS)] = NO_WORDS,
    across: Fields = NO_FIELDS,
    rule: AnswerRule = AnswerRule.UNCHANGED,
    cursor: Cursor | None = None,
) -> Response:
    """The first of `of` is what the others are compared with."""
    subjects = [word for word in of if word]
    values: dict[str, Any] = {"subjects": subjects, "across": across, "rule": rule, "rules": list(AnswerRule)}
    if len(subjects) < 2:
        return render(request, "compare.html", **values, report=None, offered=USUALLY_ACROSS)
    report = comparisons.compare_results(
        context, subjects, across=across, rule=rule, limit=PROMPTS, cursor=cursor, answers="changed"
    )
    differing = {each.field for side in report.comparisons for each in side.differences}
    values |= {
        "report": report,
        "offered": sorted({*USUALLY_ACROSS, *differing, *across}),
        "sides": report.comparisons[:SIDES],
        "more_sides": len(report.comparisons) - len(report.comparisons[:SIDES]),
        "blocking": sorted({e.field for side in report.comparisons for e in side.differences if not e.allowed}),
        "changes": {prompt.index: _changes(prompt) for prompt in report.items},
        "interval": interval,
        "median": median,
        "with_across": lambda fields: _address(request, across=[*across, *fields]),
        "swapped": _address(request, of=[subjects[-1], *subjects[1:-1], subjects[0]]),
        "following": report.next and _address(request, cursor=[report.next]),
        "first_page": _address(request, cursor=[]) if cursor else None,
        "page_width": WIDTH,
        "subject_link": subject_link,
    }
    return render(request, "compare.html", **values)


def subject_link(label: str) -> str | None:
    """The page of a subject, `batch:3`; None if it has none."""
    kind, _, number = label.rpartition(":")
    return {
        "job": f"/jobs/{number}", "": f"/jobs/{number}", "batch": f"/batches/{number}",
        "pipeline": f"/pipelines/{number}", "run": f"/suite-runs/{number}",
    }.get(kind)  # fmt: skip


def interval(metric: ComparedMetric) -> DrawnInterval | None:
    """The picture of a metric; None if there is nothing to draw."""
    base = abs(median(metric.before)) if metric.before else 0.0
    if metric.difference is None or not base:
        return None
    share = metric.difference / base
    low, high = (None if end is None else end / base for end in (metric.low, metric.high))
    ends = [abs(each) for each in (share, low, high, metric.threshold) if each is not None]
    most = 1.15 * max(*ends, 0.001)

    def place(value: float) -> float:
        return round(WIDTH / 2 * (1 + value / most), 1)

    band = None if metric.threshold is None else (place(-metric.threshold), place(metric.threshold))
    ends_at = [None if end is None else place(end) for end in (low, high)]
    return DrawnInterval(place(0), place(share), ends_at[0], ends_at[1], band, share)


def _changes(prompt: ComparedPromptView) -> Sequence[ShownChange]:
    return [ShownChange(each, side_by_side(*_texts(prompt, each))) for each in prompt.changes[:CHANGES]]


def _texts(prompt: ComparedPromptView, change: ChangedAnswer) -> tuple[str, str]:
    """Both answers from their beginning if the document has them as far as the first difference, else the excerpts."""
    if change.before is not None and change.after is not None:
        before, after = prompt.answers[change.before].answer, prompt.answers[change.after].answer
        if (change.first_character or 0) < min(len(before.text), len(after.text)) or before.text != after.text:
            return before.text, after.text
    return change.before_excerpt, change.after_excerpt


def _address(request: Request, **changed: Sequence[str]) -> str:
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in changed and value]
    kept = [(name, value) for name, value in kept if name != "cursor"]
    return f"/compare?{urlencode([*kept, *((name, value) for name, values in changed.items() for value in values)])}"
