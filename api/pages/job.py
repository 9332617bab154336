"""One job: where it stands, why it waits, what was tried, what came out and who used it."""

import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from api.context import Given
from api.documents.answers import AnswerView
from api.documents.base import Page
from api.documents.jobs import AttemptView, JobDetail, JobView, MetricView
from api.pages.guard import pages
from api.pages.logs import end_of_log
from api.pages.rendering import render_live
from api.parameters import Cursor, Number
from api.routes import jobs
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import FINAL, JobState
from orchestrator.results.texts import parts

router = pages()

ANSWERS = 10
EVENTS = 100
MOST_OF_A_TEXT = 1000
"""Characters of an answer that are shown, so that a page of them stays small."""

CONTEXT = 40
"""Equal characters that are shown on each side of a change."""

NOT_STARTED = frozenset({JobState.WAITING, JobState.QUEUED})


@dataclass(frozen=True)
class Phase:
    """One phase of a job, and where it stands: `done`, `now` or `next`."""

    name: str
    stands: str
    seconds: float | None


@dataclass(frozen=True)
class Characters:
    """Characters of an answer: equal to the expected ones, changed, or left out because they are equal."""

    text: str
    changed: bool = False
    left_out: int = 0


@dataclass(frozen=True)
class ShownAnswer:
    """An answer beside the expected one; both as runs of characters."""

    answer: AnswerView
    given: Sequence[Characters]
    expected: Sequence[Characters]


@router.get("/jobs/{job}")
def show_job(
    job: Number,
    context: Given,
    request: Request,
    answers: Cursor | None = None,
    exact: Annotated[bool | None, Query(description="Answers equal to the expected ones, or not.")] = None,
) -> Response:
    """The page; `answers` is the cursor of its page of answers, `exact` selects some of them."""
    detail = jobs.show(job, context, Response())
    assert isinstance(detail, JobDetail)  # without If-None-Match it is never 304
    found = Page[AnswerView](items=())
    if detail.answers:
        found = jobs.list_answers(job, context, exact=exact, limit=ANSWERS, cursor=answers)
    events = jobs.list_events(job, context, limit=EVENTS)
    here = f"/jobs/{job}"
    values: dict[str, Any] = {
        "job": detail,
        "phases": phases(detail),
        "explanation": jobs.explain(job, context),
        "tries": Counter(_sort(attempt) for attempt in detail.attempts),
        "log": end_of_log(context, job),
        "answers": [shown(answer) for answer in found.items],
        "exact": exact,
        "first_answers": answers and _answers_at(here, exact, None),
        "more_answers": found.next and _answers_at(here, exact, found.next),
        "metrics": latest(detail.metrics),
        "telemetry": next((each for each in reversed(detail.attempts) if each.telemetry), None),
        "lineage": jobs.show_lineage(job, context),
        "events": events.items,
        "more_events": events.next,
        "orders": possible(detail),
        "command": _command(detail),
    }
    return render_live(request, "job", **values)


def possible(job: JobView) -> tuple[str, ...]:
    """The orders that its state allows."""
    if job.state in FINAL:
        return ("retry",)
    if job.state not in NOT_STARTED:
        return ("stop", "cancel") if job.kind == "serve" else ("cancel",)
    return ("unhold" if job.held else "hold", "front", "priority", "cancel")


def phases(job: JobDetail) -> list[Phase]:
    """Waiting, queued, running, ended: how long each took, or has taken."""
    at = {JobState.WAITING: 0, JobState.QUEUED: 1, JobState.ASSIGNED: 1, JobState.RUNNING: 2}.get(job.state, 3)
    seconds = (job.timings.waiting, job.timings.queued, job.timings.running, None)
    names = ("waiting", "queued", "running", str(job.state) if at == 3 else "succeeded")
    stands = ["done" if place < at else "now" if place == at else "next" for place in range(4)]
    return [Phase(*each) for each in zip(names, stands, seconds, strict=True)]


def latest(metrics: Sequence[MetricView]) -> list[MetricView]:
    """Those of the last attempt that has any."""
    last = max((metric.attempt_id for metric in metrics), default=None)
    return [metric for metric in metrics if metric.attempt_id == last]


def shown(answer: AnswerView) -> ShownAnswer:
    """An answer and what was expected; what is equal in both is shortened, what is long is cut."""
    if answer.golden is None or answer.exact:
        return ShownAnswer(answer, _cut([Characters(answer.text)]), ())
    given, expected = [], []
    for part in parts(answer.golden, answer.text):
        if part.equal:
            runs = _shortened(part.before)
            given += runs
            expected += runs
        else:
            given.append(Characters(part.after, changed=True))
            expected.append(Characters(part.before, changed=True))
    return ShownAnswer(answer, _cut(given), _cut(expected))


def _shortened(text: str) -> list[Characters]:
    if len(text) <= 3 * CONTEXT:
        return [Characters(text)]
    return [Characters(text[:CONTEXT]), Characters("", left_out=len(text) - 2 * CONTEXT), Characters(text[-CONTEXT:])]


def _cut(runs: Sequence[Characters]) -> list[Characters]:
    found: list[Characters] = []
    left = MOST_OF_A_TEXT
    for run in runs:
        found.append(Characters(run.text[:left], run.changed, run.left_out))
        left -= len(run.text)
        if left < 0:
            return [*found, Characters("", left_out=-left)]
    return [run for run in found if run.text or run.left_out]


def _sort(attempt: AttemptView) -> str:
    """What an attempt counts as: faults are nobody's failure."""
    if attempt.failure is None:
        return str(attempt.state)
    return "fault" if attempt.failure.kind is FailureKind.FAULT else str(attempt.state)


def _command(job: JobDetail) -> str | None:
    """What the latest attempt started, as a shell takes it."""
    said = next((each.command for each in reversed(job.attempts) if each.command), None)
    if said is None or "argv" not in said:
        return None
    given = [f"{name}={shlex.quote(str(value))}" for name, value in sorted((said.get("env") or {}).items())]
    lines = [f"cd {shlex.quote(str(said['cwd']))}"] if said.get("cwd") else []
    return "\n".join([*lines, " \\\n  ".join([*(["env -i", *given] if given else []), shlex.join(said["argv"])])])


def _answers_at(here: str, exact: bool | None, cursor: str | None) -> str:
    asked = {"exact": exact if exact is None else str(exact).lower(), "answers": cursor}
    given = urlencode({name: value for name, value in asked.items() if value is not None})
    return f"{here}?{given}#answers" if given else f"{here}#answers"
