"""Reservations of slots for a person, a project or maintenance: create, list, show, cancel."""

from typing import Annotated

from fastapi import APIRouter, Body, Query

from api.access import Actor, GuardedRoute, needs
from api.context import Given
from api.documents import examples
from api.documents.base import Page
from api.documents.reservations import ReservationView
from api.parameters import Cursor, Limit, NameFilter, Number, first_position, number_of, page
from orchestrator.model.orders import Reason
from orchestrator.model.reservations import ReservationRequest
from orchestrator.model.scopes import Scope
from orchestrator.slots import reservations
from orchestrator.slots.reservations import ReservationFacts

router = APIRouter(prefix="/reservations", tags=["reservations"], route_class=GuardedRoute)

_NO_REASON = Reason()


@router.post("", status_code=201, openapi_extra=needs(Scope.OPERATOR))
def reserve(
    body: Annotated[ReservationRequest, Body(openapi_examples=examples.RESERVATION)], context: Given, actor: Actor
) -> ReservationView:
    """Reserve slots for a time, at most 30 days: inside it only jobs of `project` run there, and no other job is
    started that might overlap with it. Running jobs continue; `reaching` lists them, and until when they may run. 409
    names the reservations that have one of the slots for some of that time."""
    with context.database.admission() as (session, now):
        return _view(reservations.reserve(session, body, by=actor, now=now))


@router.get("")
def list_reservations(
    context: Given,
    slot: NameFilter | None = None,
    past: Annotated[bool, Query(description="Past ones too.")] = False,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[ReservationView]:
    """Current and future reservations, latest first."""
    with context.database.read() as session:
        now = context.database.now(session)
        before = first_position(cursor)
        found = reservations.reservations(session, now, limit=limit + 1, before=before, past=past, slot=slot)
        views = [_view(facts) for facts in found]
    return page(views, limit, number_of)


@router.get("/{reservation}")
def show_reservation(reservation: Number, context: Given) -> ReservationView:
    """One reservation, also a past one."""
    with context.database.read() as session:
        return _view(reservations.reservation(session, reservation, context.database.now(session)))


@router.post("/{reservation}/cancel", openapi_extra=needs(Scope.OPERATOR))
def cancel_reservation(reservation: Number, context: Given, actor: Actor, body: Reason = _NO_REASON) -> ReservationView:
    """Cancel a reservation, before or while it is active; 409 if it has ended."""
    with context.database.admission() as (session, now):
        return _view(reservations.cancel(session, reservation, by=actor, note=body.note, now=now))


def _view(facts: ReservationFacts) -> ReservationView:
    row = facts.reservation
    columns = {name: getattr(row, name) for name in ReservationView.model_fields if hasattr(row, name)}
    return ReservationView.model_validate(
        {**columns, "state": facts.state, "slots": facts.slots, "reaching": facts.reaching}
    )
