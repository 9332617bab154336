"""Doubts: which results are shown and not used, and lifting that."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.access import Actor, GuardedRoute, needs
from api.context import Given
from api.documents.base import Page
from api.documents.doubts import DoubtView
from api.parameters import Cursor, Limit, NameFilter, NumberFilter, first_position, number_of, page
from api.views.doubts import doubt_view
from orchestrator.model.doubts import LiftOrder
from orchestrator.model.scopes import Scope
from orchestrator.slots import doubt

router = APIRouter(prefix="/doubts", tags=["doubts"], route_class=GuardedRoute)


@router.get("")
def list_doubts(
    context: Given,
    job: NumberFilter | None = None,
    slot: NameFilter | None = None,
    lifted: Annotated[bool, Query(description="Also those that no longer count.")] = False,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[DoubtView]:
    """Doubts that count, newest first: one for each attempt whose results are shown and not used."""
    before = first_position(cursor)
    with context.database.read() as session:
        found = doubt.doubts(session, limit=limit + 1, before=before, job=job, slot=slot, lifted=lifted)
        views = [doubt_view(facts.doubt, facts.job_id, facts.job_name) for facts in found]
    return page(views, limit, number_of)


@router.post("/lift", openapi_extra=needs(Scope.OPERATOR))
def lift_doubts(body: LiftOrder, context: Given, actor: Actor) -> Page[DoubtView]:
    """Lift doubts, so that the results are used again; the answer has those that were lifted. 409 if none counts."""
    with context.database.write() as session:
        lifted = doubt.lift(session, body, by=actor, now=context.database.now(session))
        return Page(items=tuple(doubt_view(facts.doubt, facts.job_id, facts.job_name) for facts in lifted))
