"""Pipelines: submit, list, show, cancel."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from api import examples
from api.access import GuardedRoute, Once
from api.context import Context, Given
from api.parameters import Cursor, Limit, NameFilter, Number, first_position, number_of, page
from api.routes.jobs import note_replay
from api.schemas import Page, PipelineDetail, PipelineView
from api.views import pipeline_detail, pipeline_view
from orchestrator import lifecycle, queries
from orchestrator.model.specs import PipelineRequest
from orchestrator.model.states import FINAL

router = APIRouter(prefix="/pipelines", tags=["pipelines"], route_class=GuardedRoute)


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
def cancel_pipeline(pipeline: Number, context: Given) -> PipelineDetail:
    """Ask for every job that has not ended to stop."""
    with context.database.write() as session:
        now = context.database.now(session)
        _facts, jobs = queries.pipeline(session, pipeline)
        # Last first: a job whose need is cancelled before it would be skipped, which says less.
        for entry in reversed(jobs):
            if entry.job.state not in FINAL:
                lifecycle.cancel(session, entry.job.id, now=now, why=f"pipeline {pipeline} was cancelled on request")
    return _detail(context, pipeline)


def _detail(context: Context, pipeline: int) -> PipelineDetail:
    with context.database.read() as session:
        return pipeline_detail(*queries.pipeline(session, pipeline))
