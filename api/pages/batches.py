"""The list of batches, and one batch: its matrix of card groups and rounds, its different answers, its orders."""

from typing import Any

from fastapi import Request, Response

from api.access import Actor
from api.context import Given
from api.documents.base import Page
from api.documents.batches import BatchMatrixView, BatchView
from api.pages.groups import ORDERS, ROWS, listing, ordered
from api.pages.guard import Fields, pages
from api.pages.rendering import render_live
from api.parameters import ChosenGroups, Cursor, Number
from api.routes import batches
from api.routes.batches import FirstRound
from orchestrator.model.batch_report import MatrixCell
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import FINAL

router = pages()


@router.get("/batches")
def list_batches(context: Given, request: Request, chosen: ChosenGroups, cursor: Cursor | None = None) -> Response:
    """Batches, newest first, filtered by the address."""
    found: Page[BatchView] = batches.list_batches(context, chosen, limit=ROWS, cursor=cursor)
    return render_live(request, "batches", batches=found.items, **listing(request, "/batches", found.next))


@router.get("/batches/{batch}")
def show_batch(batch: Number, context: Given, request: Request, first: FirstRound | None = None) -> Response:
    """One batch: how it stands, the matrix, what differs, what failed."""
    detail = batches.show_batch(batch, context)
    matrix = batches.show_matrix(batch, context, first)
    ended = sum(detail.counts.get(state, 0) for state in FINAL)
    values: dict[str, Any] = {
        "batch": detail,
        "matrix": matrix,
        "earlier": _earlier(matrix),
        "later": matrix.last + 1 if matrix.last < matrix.rounds else None,
        "ended": ended,
        "orders": () if ended == detail.size else ORDERS,
        "cell_state": cell_state,
        "times_by_slot": {each.slot_id: each for each in detail.device_times},
    }
    return render_live(request, "batch", **values)


@router.post("/batches/{batch}/orders", openapi_extra={"x-scope": "submitter"})
def order_batch(batch: Number, context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """One action on all jobs of a batch that have not ended."""
    batches.show_progress(batch, context)
    return ordered(request, fields, actor, lambda order: batches.order_all(context, batch, order))


def cell_state(cell: MatrixCell) -> str:
    """How a cell is marked: a fault of the infrastructure is no failure."""
    return "fault" if cell.failure is FailureKind.FAULT else str(cell.state)


def _earlier(matrix: BatchMatrixView) -> int | None:
    shown = matrix.last - matrix.first + 1
    return max(1, matrix.first - shown) if matrix.first > 1 else None
