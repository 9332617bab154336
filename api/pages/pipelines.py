"""The list of pipelines, and one pipeline: its graph of steps, its jobs, its orders."""

from typing import Any

from fastapi import Request, Response

from api.access import Actor
from api.context import Given
from api.pages import graphs
from api.pages.groups import ORDERS, ROWS, listing, ordered
from api.pages.guard import Fields, pages
from api.pages.rendering import render_live
from api.parameters import ChosenGroups, Cursor, Number
from api.routes import pipelines
from orchestrator.model.states import FINAL

router = pages()

JOBS = 100


@router.get("/pipelines")
def list_pipelines(context: Given, request: Request, chosen: ChosenGroups, cursor: Cursor | None = None) -> Response:
    """Pipelines, newest first, filtered by the address."""
    found = pipelines.list_pipelines(context, chosen, limit=ROWS, cursor=cursor)
    return render_live(request, "pipelines", pipelines=found.items, **listing(request, "/pipelines", found.next))


@router.get("/pipelines/{pipeline}")
def show_pipeline(pipeline: Number, context: Given, request: Request) -> Response:
    """One pipeline."""
    detail = pipelines.show_pipeline(pipeline, context)
    values: dict[str, Any] = {
        "pipeline": detail,
        "graph": graphs.graph_of(detail.jobs, detail.needs),
        "box": (graphs.WIDTH, graphs.HEIGHT),
        "jobs": detail.jobs[:JOBS],
        "more_jobs": len(detail.jobs) - len(detail.jobs[:JOBS]),
        "ended": sum(count for state, count in detail.counts.items() if state in FINAL),
        "orders": () if set(detail.counts) <= FINAL else ORDERS,
    }
    return render_live(request, "pipeline", **values)


@router.post("/pipelines/{pipeline}/orders", openapi_extra={"x-scope": "submitter"})
def order_pipeline(pipeline: Number, context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """One action on all jobs of a pipeline that have not ended."""
    return ordered(request, fields, actor, lambda order: pipelines.order_all(context, pipeline, order))
