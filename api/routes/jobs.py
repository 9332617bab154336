"""Jobs: submit, list, show, explain, order, retry."""

from typing import Annotated

from fastapi import APIRouter, Body, Header, Query, Request, Response
from sqlalchemy.orm import Session

from api.access import Actor, GuardedRoute, Once
from api.context import Context, Given
from api.documents import examples
from api.documents.answers import AnswerView
from api.documents.base import Page
from api.documents.explanations import ExplanationView
from api.documents.jobs import (
    BulkRequest,
    CheckedJob,
    EventView,
    JobCount,
    JobDetail,
    JobReference,
    JobView,
    LineageView,
    OrderReport,
    OriginView,
    UseView,
)
from api.http.errors import StaleVersion
from api.http.etags import etag_of, matches, tags
from api.http.replay import note_replay, replays
from api.parameters import (
    Cursor,
    IndexFilter,
    Limit,
    ListedJobs,
    Number,
    NumberFilter,
    first_position,
    number_of,
    page,
    position,
)
from api.routes.orders import FOR_ONE, CarryOut, declare
from api.views.jobs import answer_view, checked_job, explanation_view, job_detail, job_view, order_report
from orchestrator.catalog import lineage
from orchestrator.jobs import history, orders, queries
from orchestrator.model.orders import BulkOrder, Order
from orchestrator.model.specs import JobRequest
from orchestrator.scheduling import explanation
from orchestrator.submission.idempotency import Made

router = APIRouter(prefix="/jobs", tags=["jobs"], route_class=GuardedRoute)

MOST_USES = 100
"""Jobs that took the outputs of a job that are listed."""

IfMatch = Annotated[str | None, Header(description="Only if the job has not changed: its ETag or version.")]


@router.post("", status_code=201, responses=replays(JobView))
def submit(
    body: Annotated[JobRequest, Body(openapi_examples=examples.JOB)],
    context: Given,
    request: Request,
    response: Response,
    actor: Actor,
    once: Once,
) -> JobView:
    """Submit a job."""
    made = context.submission.job(body, once, by=actor)
    return _made_one(made, context, request, response)


@router.post("/check")
def check(body: Annotated[JobRequest, Body(openapi_examples=examples.JOB)], context: Given) -> CheckedJob:
    """Check a job as its submission would, and return what it would be. Nothing is stored."""
    (draft,) = context.submission.check(body)
    return checked_job(draft)


@router.post("/bulk", status_code=201, responses=replays(Page[JobView]))
def submit_many(
    body: Annotated[BulkRequest, Body(openapi_examples=examples.BULK)],
    context: Given,
    response: Response,
    actor: Actor,
    once: Once,
) -> Page[JobView]:
    """Submit all jobs or none."""
    made = context.submission.jobs(body.jobs, once, by=actor)
    note_replay(made, response)
    with context.database.read() as session:
        return Page(items=tuple(map(job_view, queries.jobs_by_number(session, made.jobs))))


@router.post("/actions")
def order_many(
    body: Annotated[BulkOrder, Body(openapi_examples=examples.ORDER)], context: Given, actor: Actor
) -> OrderReport:
    """Cancel, hold, unhold, reprioritise or move to the front many jobs: those of a list, or up to 1000 that match a
    filter. All possible changes are made in one transaction; the answer has the outcome for each job."""
    with context.database.admission() as (session, now):
        return order_report(orders.carry_out_bulk(session, body, actor, now=now))


@router.get("")
def list_jobs(
    context: Given,
    chosen: ListedJobs,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[JobView]:
    """Jobs, newest first. `slot` is one on which an attempt of the job ran; `q` is a part of the name; `since` and
    `until` are times with their zone: jobs that were submitted from the one until the other; `failure` is why they
    failed."""
    with context.database.read() as session:
        found = queries.jobs(session, chosen, limit=limit + 1, before=first_position(cursor))
        views = [job_view(entry) for entry in found]
    return page(views, limit, number_of)


@router.get("/count")
def count_jobs(context: Given, chosen: ListedJobs) -> JobCount:
    """How many jobs fit these filters, and how many of them each order would change: what to look at before
    `POST /jobs/actions`. No number is above 10,000."""
    with context.database.read() as session:
        return JobCount.model_validate(orders.count(session, chosen))


@router.get("/{job}", response_model=JobDetail, responses={304: {"description": "Not changed."}})
def show(
    job: Number, context: Given, response: Response, if_none_match: Annotated[str | None, Header()] = None
) -> JobDetail | Response:
    """Everything known about a job; the ETag begins with its version."""
    with context.database.read() as session:
        facts = queries.job_facts(session, job, context.database.now(session))
        detail = job_detail(facts)
    etag = etag_of(detail)
    if if_none_match is not None and etag in tags(if_none_match):
        return Response(status_code=304, headers={"ETag": etag})
    response.headers["ETag"] = etag
    return detail


@router.get("/{job}/answers")
def list_answers(
    job: Number,
    context: Given,
    attempt: NumberFilter | None = None,
    index: IndexFilter | None = None,
    exact: Annotated[bool | None, Query(description="Equal to the golden answers, or not.")] = None,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[AnswerView]:
    """The answers of the latest attempt, or of attempt number `attempt`, by repeat, prompt and batch."""
    with context.database.read() as session:
        tried = queries.attempt(session, job, attempt)
        found = queries.answers(session, tried.id, limit=limit + 1, after=position(cursor, 3), index=index, exact=exact)
        views = [answer_view(row, tried) for row in found]
    return page(views, limit, lambda view: (view.repeat, view.index, view.batch))


@router.get("/{job}/lineage")
def show_lineage(job: Number, context: Given) -> LineageView:
    """Which jobs made the inputs of a job, and which jobs took its outputs."""
    with context.database.read() as session:
        queries.job(session, job)
        origins, uses = lineage.origins(session, job), lineage.uses(session, job, limit=MOST_USES)
        return LineageView(
            inputs=tuple(
                OriginView(
                    name=each.taken.name, digest=each.taken.digest, file_name=each.taken.file_name,
                    job=None if each.maker is None else JobReference.model_validate(each.maker),
                )
                for each in origins
            ),
            used_by=tuple(UseView(job=JobReference.model_validate(each.job), name=each.name) for each in uses),
        )  # fmt: skip


@router.get("/{job}/events")
def list_events(job: Number, context: Given, limit: Limit = 100, cursor: Cursor | None = None) -> Page[EventView]:
    """The events of a job, oldest first."""
    with context.database.read() as session:
        queries.job(session, job)
        found = queries.events(session, after=first_position(cursor) or 0, limit=limit + 1, jobs=[job])
        views = [EventView.model_validate(row) for row in found]
    return page(views, limit, number_of)


@router.get("/{job}/explain")
def explain(job: Number, context: Given) -> ExplanationView:
    """Everything a job waits for, when it may start, and the decisions that led to its state: each attempt with the
    reason for the next, and the cache look-up; for a miss, which input differs from the nearest earlier build."""
    settings = context.settings
    with context.database.read() as session:
        now = context.database.now(session)
        found = explanation.explanation(session, job, now=now, lost_after=settings.lease, aging=settings.aging)
        return explanation_view(found, history.review(session, job))


async def _one_job(job: Number, context: Given, if_match: IfMatch = None) -> CarryOut:
    def carry_out(order: Order) -> JobView:
        with context.database.admission() as (session, now):
            _check_version(session, job, if_match)
            orders.carry_out(session, job, order, now=now)
            return job_view(queries.job(session, job))

    return carry_out


declare(router, "job", JobView, _one_job, FOR_ONE)


@router.post("/{job}/retry", status_code=201, responses=replays(JobView))
def retry(job: Number, context: Given, request: Request, response: Response, actor: Actor, once: Once) -> JobView:
    """Make a new job from the request of a finished one."""
    return _made_one(context.submission.retry(job, once, by=actor), context, request, response)


def _check_version(session: Session, job: int, if_match: str | None) -> None:
    version = queries.locked_version(session, job)
    if if_match is not None and not matches(if_match, version):
        raise StaleVersion(f"job {job} has changed; read it again", field="If-Match")


def _made_one(made: Made, context: Context, request: Request, response: Response) -> JobView:
    note_replay(made, response)
    response.headers["Location"] = request.app.url_path_for("show", job=made.jobs[0])
    with context.database.read() as session:
        return job_view(queries.job(session, made.jobs[0]))
