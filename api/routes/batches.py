"""Batches: submit, list, show with the report; orders for all their jobs that have not ended."""

from functools import partial
from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response

from api.access import Actor, GuardedRoute, Once
from api.context import Context, Given
from api.documents import examples
from api.documents.base import Page
from api.documents.batches import BatchDetail, BatchMatrixView, BatchView
from api.documents.jobs import OrderReport
from api.http.replay import note_replay, replays
from api.parameters import ChosenGroups, Cursor, Integer, Limit, Number, first_position, number_of, page
from api.routes.orders import CANCEL_ALL, FOR_ALL, CarryOut, declare
from api.views.batches import batch_view
from api.views.jobs import order_report
from api.views.junit import junit
from orchestrator.batches import matrix, orders, report
from orchestrator.model.batches import MOST_JOBS, BatchRequest
from orchestrator.model.orders import Order

router = APIRouter(prefix="/batches", tags=["batches"], route_class=GuardedRoute)

FirstRound = Annotated[Integer, Query(ge=1, le=MOST_JOBS, description="Number of the first round to show.")]


@router.post("", status_code=201, responses=replays(BatchView))
def submit_batch(
    body: Annotated[BatchRequest, Body(openapi_examples=examples.BATCH)],
    context: Given,
    request: Request,
    response: Response,
    actor: Actor,
    once: Once,
) -> BatchView:
    """Make all jobs or none: those of a list, or a template several times on each slot, pinned there."""
    made = context.batches.submit(body, once, by=actor)
    assert made.batch is not None
    note_replay(made, response)
    response.headers["Location"] = request.app.url_path_for("show_batch", batch=made.batch)
    return _view(context, made.batch)


@router.get("")
def list_batches(
    context: Given, chosen: ChosenGroups, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[BatchView]:
    """Batches, newest first."""
    before = first_position(cursor)
    with context.database.read() as session:
        found = report.batches(session, chosen, limit=limit + 1, before=before)
        views = [batch_view(facts) for facts in found]
    return page(views, limit, number_of)


@router.get("/{batch}")
def show_batch(batch: Number, context: Given) -> BatchDetail:
    """Show a batch with its report: failures by kind, faults separately, slots side by side."""
    with context.database.read() as session:
        found = report.report(session, batch)
        fields = {name: getattr(found, name) for name in BatchDetail.model_fields if hasattr(found, name)}
        return BatchDetail.model_validate({**batch_view(found.facts).model_dump(), **fields})


@router.get("/{batch}/progress")
def show_progress(batch: Number, context: Given) -> BatchView:
    """The progress of a batch, without the report: cheap enough for a request every second."""
    return _view(context, batch)


@router.get("/{batch}/matrix")
def show_matrix(batch: Number, context: Given, first: FirstRound | None = None) -> BatchMatrixView:
    """A batch as card group × round, the worst card group first, with the sets of answers that were given. Without
    `first`: the rounds up to the last one that has begun."""
    with context.database.read() as session:
        return BatchMatrixView.model_validate(matrix.matrix(session, batch, first))


@router.get(
    "/{batch}/junit",
    response_class=Response,
    responses={200: {"content": {"application/xml": {"schema": {"type": "string"}}}}},
)
def show_junit(batch: Number, context: Given, require_agreement: bool = False) -> Response:
    """A batch as JUnit XML: a fault is an error, a failed job a failure. With `require_agreement` one case more, which
    fails unless all slots give the same answers."""
    with context.database.read() as session:
        found = report.report(session, batch)
        text = junit(found, report.job_lines(session, batch), require_agreement=require_agreement)
    return Response(text, media_type="application/xml")


def order_all(context: Context, batch: int, order: Order) -> OrderReport:
    """Carry out an order for all jobs of a batch that have not ended, in portions."""
    return order_report(orders.carry_out(context.database, batch, order))


async def _all_jobs(batch: Number, context: Given) -> CarryOut:
    return partial(order_all, context, batch)


declare(router, "batch", OrderReport, _all_jobs, [CANCEL_ALL, *FOR_ALL])


def _view(context: Context, batch: int) -> BatchView:
    with context.database.read() as session:
        return batch_view(report.batch(session, batch))
