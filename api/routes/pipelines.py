"""Pipelines: submit, list, show; orders for all their jobs that have not ended."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Body, Depends, Request, Response

from api.access import Actor, GuardedRoute, Once
from api.context import Context, Given
from api.documents import examples
from api.documents.base import Page
from api.documents.jobs import CheckedJob, OrderReport
from api.documents.pipelines import PipelineDetail, PipelineView
from api.http.replay import note_replay, replays
from api.parameters import ChosenGroups, Cursor, Limit, Number, first_position, number_of, page
from api.routes.orders import CANCEL_ALL, FOR_ALL, CarryOut, declare
from api.views.jobs import checked_job, order_report
from api.views.pipelines import pipeline_detail, pipeline_view
from orchestrator.jobs import orders, queries
from orchestrator.model.orders import Order
from orchestrator.model.specs import PipelineRequest

router = APIRouter(prefix="/pipelines", tags=["pipelines"], route_class=GuardedRoute)


@router.post("", status_code=201, responses=replays(PipelineDetail))
def submit_pipeline(
    body: Annotated[PipelineRequest, Body(openapi_examples=examples.PIPELINE)],
    context: Given,
    request: Request,
    response: Response,
    actor: Actor,
    once: Once,
) -> PipelineDetail:
    """Submit a pipeline with all its jobs, or nothing."""
    made = context.submission.pipeline(body, once, by=actor)
    assert made.pipeline is not None
    note_replay(made, response)
    response.headers["Location"] = request.app.url_path_for("show_pipeline", pipeline=made.pipeline)
    return _detail(context, made.pipeline)


@router.post("/check")
def check_pipeline(
    body: Annotated[PipelineRequest, Body(openapi_examples=examples.PIPELINE)], context: Given
) -> Page[CheckedJob]:
    """Check a pipeline as its submission would, and return what its jobs would be. Nothing is stored."""
    return Page(items=tuple(map(checked_job, context.submission.check(body))))


@router.get("")
def list_pipelines(
    context: Given, chosen: ChosenGroups, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[PipelineView]:
    """Pipelines, newest first."""
    before = first_position(cursor)
    with context.database.read() as session:
        found = queries.pipelines(session, chosen, limit=limit + 1, before=before)
        views = [pipeline_view(facts) for facts in found]
    return page(views, limit, number_of)


@router.get("/{pipeline}")
def show_pipeline(pipeline: Number, context: Given) -> PipelineDetail:
    """A pipeline with its jobs, each after those it needs."""
    return _detail(context, pipeline)


def order_all(context: Context, pipeline: int, order: Order) -> OrderReport:
    """Carry out an order for all jobs of a pipeline that have not ended."""
    with context.database.admission() as (session, now):
        return order_report(orders.carry_out_pipeline(session, pipeline, order, now=now))


async def _all_jobs(pipeline: Number, context: Given) -> CarryOut:
    return partial(order_all, context, pipeline)


async def _whole_pipeline(
    pipeline: Number, context: Given, carry_out: Annotated[CarryOut, Depends(_all_jobs)]
) -> CarryOut:
    def then_shown(order: Order) -> PipelineDetail:
        carry_out(order)
        return _detail(context, pipeline)

    return then_shown


declare(router, "pipeline", PipelineDetail, _whole_pipeline, [CANCEL_ALL])
declare(router, "pipeline", OrderReport, _all_jobs, FOR_ALL)


def _detail(context: Context, pipeline: int) -> PipelineDetail:
    with context.database.read() as session:
        return pipeline_detail(*queries.pipeline(session, pipeline), queries.pipeline_needs(session, pipeline))
