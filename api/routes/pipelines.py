"""Pipelines: submit, list, show; cancel, hold, release, reprioritise or move to the front all that has not ended."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from api import examples
from api.access import Actor, GuardedRoute, Once
from api.context import Context, Given
from api.documents.base import Page
from api.documents.jobs import OrderReport
from api.documents.pipelines import PipelineDetail, PipelineView
from api.http.replay import note_replay
from api.parameters import Cursor, Limit, NameFilter, Number, first_position, number_of, page
from api.views.jobs import order_report
from api.views.pipelines import pipeline_detail, pipeline_view
from orchestrator.jobs import orders, queries
from orchestrator.jobs.orders import Order
from orchestrator.model.orders import Action, NewPriority, Reason
from orchestrator.model.specs import PipelineRequest

router = APIRouter(prefix="/pipelines", tags=["pipelines"], route_class=GuardedRoute)

_NO_REASON = Reason()


@router.post("", status_code=201)
def submit_pipeline(
    body: Annotated[PipelineRequest, Body(openapi_examples=examples.PIPELINE)],
    context: Given,
    request: Request,
    response: Response,
    once: Once,
) -> PipelineDetail:
    """Make a pipeline with all its jobs, or nothing."""
    made = context.submission.pipeline(body, once)
    assert made.pipeline is not None
    note_replay(made, response)
    response.headers["Location"] = request.app.url_path_for("show_pipeline", pipeline=made.pipeline)
    return _detail(context, made.pipeline)


@router.get("")
def list_pipelines(
    context: Given,
    project: NameFilter | None = None,
    name: NameFilter | None = None,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[PipelineView]:
    """Pipelines, newest first."""
    before = first_position(cursor)
    with context.database.read() as session:
        found = queries.pipelines(session, limit=limit + 1, before=before, project=project, name=name)
        views = [pipeline_view(facts) for facts in found]
    return page(views, limit, number_of)


@router.get("/{pipeline}")
def show_pipeline(pipeline: Number, context: Given) -> PipelineDetail:
    """A pipeline with its jobs, each after those it needs."""
    return _detail(context, pipeline)


@router.post("/{pipeline}/cancel")
def cancel_pipeline(pipeline: Number, context: Given, actor: Actor, body: Reason = _NO_REASON) -> PipelineDetail:
    """Ask for every job that has not ended to stop."""
    note = body.note or f"pipeline {pipeline} was cancelled on request"
    _ordered(context, pipeline, Order(Action.CANCEL, actor, note))
    return _detail(context, pipeline)


@router.post("/{pipeline}/hold")
def hold_pipeline(pipeline: Number, context: Given, actor: Actor, body: Reason = _NO_REASON) -> OrderReport:
    """Keep every job that is not placed yet from being placed; the answer says which go on."""
    return _ordered(context, pipeline, Order(Action.HOLD, actor, body.note))


@router.post("/{pipeline}/release")
def release_pipeline(pipeline: Number, context: Given, actor: Actor, body: Reason = _NO_REASON) -> OrderReport:
    """Undo the holds of all its jobs."""
    return _ordered(context, pipeline, Order(Action.RELEASE, actor, body.note))


@router.post("/{pipeline}/priority")
def prioritise_pipeline(pipeline: Number, context: Given, actor: Actor, body: NewPriority) -> OrderReport:
    """Give every job that has not begun another priority."""
    return _ordered(context, pipeline, Order(Action.PRIORITY, actor, body.note, body.priority))


@router.post("/{pipeline}/front")
def pipeline_to_front(pipeline: Number, context: Given, actor: Actor, body: Reason = _NO_REASON) -> OrderReport:
    """Move every job that is not placed yet before all others of its priority, in the order they have."""
    return _ordered(context, pipeline, Order(Action.FRONT, actor, body.note))


def _ordered(context: Context, pipeline: int, order: Order) -> OrderReport:
    with context.database.admission() as (session, now):
        return order_report(orders.carry_out_pipeline(session, pipeline, order, now=now))


def _detail(context: Context, pipeline: int) -> PipelineDetail:
    with context.database.read() as session:
        return pipeline_detail(*queries.pipeline(session, pipeline))
