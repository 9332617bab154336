"""Results as data: numbers and answers with all that they depend on, in pages or as a whole."""

from collections.abc import Iterator, Sequence
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.responses import StreamingResponse

from api.access import GuardedRoute
from api.context import Context, Given
from api.documents.base import Page
from api.documents.results import Format, GivenAnswerView, MeasuredRunView
from api.http.downloads import attachment
from api.http.tables import MEDIA_TYPES, Row, written
from api.parameters import (
    ChosenJobs,
    Cursor,
    DigestFilter,
    Limit,
    Moment,
    NameFilter,
    NumberFilter,
    first_position,
    page,
    position,
)
from api.views.results import (
    ANSWER_COLUMNS,
    NUMBER_COLUMNS,
    answer_rows,
    given_answer_view,
    measured_run_view,
    number_rows,
)
from orchestrator.comparisons import measurements
from orchestrator.comparisons.measurements import ResultFilter

router = APIRouter(prefix="/results", tags=["results"], route_class=GuardedRoute)

Names = Annotated[list[NameFilter], Query(max_length=100)]

NO_NAMES: list[str] = []

PAGE = 500
"""Rows of a whole that are read in one transaction."""


def _chosen(
    jobs: ChosenJobs,
    job: Annotated[list[NumberFilter], Query(max_length=1000)] = [],  # noqa: B006  # FastAPI copies defaults
    release: NameFilter | None = None,
    kcore: DigestFilter | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> ResultFilter:
    """`since` and `until` are times at which a job ended, with their zone."""
    return ResultFilter(jobs, job, release, kcore, since, until)


Chosen = Annotated[ResultFilter, Depends(_chosen)]


@router.get("/metrics")
def list_metrics(
    context: Given,
    chosen: Chosen,
    metric: Names = NO_NAMES,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[MeasuredRunView]:
    """Runs with their numbers, newest first; `metric` names those that are shown."""
    found = _runs(context, chosen, metric, limit + 1, first_position(cursor))
    return page(found, limit, lambda run: (run.job_id,))


@router.get("/metrics/export", response_class=StreamingResponse)
def export_metrics(
    context: Given,
    chosen: Chosen,
    metric: Names = NO_NAMES,
    format: Format = "csv",
) -> StreamingResponse:
    """All numbers, one a row, newest run first."""

    def runs() -> Iterator[MeasuredRunView]:
        before: int | None = None
        while found := _runs(context, chosen, metric, PAGE, before):
            yield from found
            before = found[-1].job_id

    return _table(number_rows(runs()), NUMBER_COLUMNS, format, "metrics")


@router.get("/answers")
def list_answers(
    context: Given, chosen: Chosen, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[GivenAnswerView]:
    """Answers with all that they depend on, newest job first."""
    found = _answers(context, chosen, limit + 1, position(cursor, 4))
    return page(found, limit, _place)


@router.get("/answers/export", response_class=StreamingResponse)
def export_answers(context: Given, chosen: Chosen, format: Format = "csv") -> StreamingResponse:
    """All answers, one a row, newest job first."""

    def answers() -> Iterator[GivenAnswerView]:
        after: tuple[int, ...] | None = None
        while found := _answers(context, chosen, PAGE, after):
            yield from found
            after = _place(found[-1])

    return _table(answer_rows(answers()), ANSWER_COLUMNS, format, "answers")


def _runs(
    context: Context, chosen: ResultFilter, names: list[str], limit: int, before: int | None
) -> list[MeasuredRunView]:
    with context.database.read() as session:
        found = measurements.measured_runs(session, chosen, limit=limit, before=before)
        return [measured_run_view(each, names) for each in found]


def _answers(
    context: Context, chosen: ResultFilter, limit: int, after: tuple[int, ...] | None
) -> list[GivenAnswerView]:
    with context.database.read() as session:
        return [given_answer_view(*row) for row in measurements.answers(session, chosen, limit=limit, after=after)]


def _place(answer: GivenAnswerView) -> tuple[int, ...]:
    return (answer.job_id, answer.repeat, answer.index, answer.batch)


def _table(rows: Iterator[Row], columns: Sequence[str], form: Format, name: str) -> StreamingResponse:
    headers = {"Content-Disposition": attachment(f"{name}.{form}")}
    return StreamingResponse(written(rows, columns, form), media_type=MEDIA_TYPES[form], headers=headers)
