"""The list of jobs, one job, and what may be ordered of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response

from api.access import Actor
from api.context import Given
from api.documents.jobs import JobDetail, JobView
from api.pages.guard import Fields, checked, one, pages
from api.pages.logs import end_of_log
from api.pages.rendering import render
from api.parameters import ChosenJobs, Cursor, Moment, Number
from api.routes import jobs
from orchestrator.errors import BadRequest, OrchestratorError
from orchestrator.model.orders import Action, BulkOrder
from orchestrator.model.specs import PRODUCES
from orchestrator.model.states import FINAL, JobState

router = pages()

ROWS = 100
ANSWERS = 10
EVENTS = 100
MOST_RETRIED = 100
"""Jobs retried by one order: each is a submission of its own."""

_NOT_STARTED = frozenset({JobState.WAITING, JobState.QUEUED})
_WAITING = _NOT_STARTED | {JobState.ASSIGNED}


@dataclass(frozen=True)
class Phase:
    """One phase of a job, and where it stands: `done`, `now` or `next`."""

    name: str
    stands: str
    seconds: float | None


@router.get("/jobs")
def list_jobs(
    context: Given, request: Request, chosen: ChosenJobs, since: Moment | None = None, cursor: Cursor | None = None
) -> Response:
    """Jobs, newest first, filtered by the address."""
    found = jobs.list_jobs(context, chosen, since=since, limit=ROWS, cursor=cursor)
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    values: dict[str, Any] = {
        "jobs": found.items,
        "asked": dict(asked),
        "address": f"/jobs?{urlencode(request.query_params.multi_items())}",
        "older": found.next and f"/jobs?{urlencode([*asked, ('cursor', found.next)])}",
        "newest": cursor and f"/jobs?{urlencode(asked)}",
        "kinds": sorted({*PRODUCES, "provision"}),
        "states": [str(state) for state in JobState],
    }
    return render(request, "jobs_live.html" if "hx-request" in request.headers else "jobs.html", **values)


@router.get("/jobs/{job}")
def show_job(job: Number, context: Given, request: Request) -> Response:
    """One job: where it stands, why it waits, what was tried, what came out."""
    detail = jobs.show(job, context, Response())
    assert isinstance(detail, JobDetail)  # without If-None-Match it is never 304
    waits = detail.state in _WAITING
    values: dict[str, Any] = {
        "job": detail,
        "phases": phases(detail),
        "explanation": jobs.explain(job, context) if waits else None,
        "log": end_of_log(context, job),
        "answers": jobs.list_answers(job, context, limit=ANSWERS).items if detail.answers else (),
        "events": jobs.list_events(job, context, limit=EVENTS).items,
        "orders": possible(detail),
        "server": str(request.base_url).rstrip("/"),
    }
    return render(request, "job_live.html" if "hx-request" in request.headers else "job.html", **values)


@router.post("/jobs/orders", openapi_extra={"x-scope": "submitter"})
def order_jobs(context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """One action on the jobs that are marked."""
    action, numbers, note = one(fields, "action"), fields.get("job", []), one(fields, "note")
    if not numbers:
        raise BadRequest("mark at least one job", field="job")
    if action == "retry":
        return render(request, "ordered_jobs.html", **_retried(context, numbers, actor))
    given = {"priority": one(fields, "priority")} if action == Action.PRIORITY else {}
    report = jobs.order_many(checked(BulkOrder, action=action, jobs=numbers, note=note, **given), context, actor)
    refused = [(item.job, item.detail) for item in report.items if not item.done]
    return render(request, "ordered_jobs.html", done=report.done, refused=refused, made=())


def possible(job: JobView) -> tuple[str, ...]:
    """The orders that its state allows."""
    if job.state in FINAL:
        return ("retry",)
    if job.state not in _NOT_STARTED:
        return ("cancel",)
    return ("unhold" if job.held else "hold", "front", "priority", "cancel")


def phases(job: JobDetail) -> list[Phase]:
    """Waiting, queued, running, ended: how long each took, or has taken."""
    at = {JobState.WAITING: 0, JobState.QUEUED: 1, JobState.ASSIGNED: 1, JobState.RUNNING: 2}.get(job.state, 3)
    seconds = (job.timings.waiting, job.timings.queued, job.timings.running, None)
    names = ("waiting", "queued", "running", str(job.state) if at == 3 else "succeeded")
    stands = ["done" if place < at else "now" if place == at else "next" for place in range(4)]
    return [Phase(*each) for each in zip(names, stands, seconds, strict=True)]


def _retried(context: Given, numbers: list[str], by: str) -> Mapping[str, Any]:
    chosen = checked(BulkOrder, action=Action.CANCEL, jobs=numbers).jobs  # the same list of numbers
    if len(chosen) > MOST_RETRIED:
        raise BadRequest(f"more than {MOST_RETRIED} jobs: retry fewer at once", field="job")
    made: list[int] = []
    refused: list[tuple[int, str]] = []
    for number in chosen:
        try:
            made += context.submission.retry(number, by=by).jobs
        except OrchestratorError as error:
            refused.append((number, error.detail))
    return {"done": len(made), "refused": refused, "made": made}
