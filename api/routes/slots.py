"""Slots: what each place is doing, who waits for it, and taking it out of service and back."""

from collections.abc import Callable

from fastapi import APIRouter

from api.access import Actor, GuardedRoute, needs
from api.context import Context, Given
from api.parameters import ThingName
from api.schemas import Page, SlotDetail, SlotView
from api.views import slot_detail, slot_view
from orchestrator import inventory, ownership, queries, steering
from orchestrator.model.orders import Reason
from orchestrator.model.scopes import Scope

router = APIRouter(prefix="/slots", tags=["slots"], route_class=GuardedRoute)

LONGEST_QUEUE_SHOWN = 100

_NO_REASON = Reason()


@router.get("")
def list_slots(context: Given) -> Page[SlotView]:
    """All slots of all hosts."""
    with context.database.read() as session:
        now = context.database.now(session)
        found = inventory.slots(session, now=now)
        return Page(items=tuple(slot_view(facts, now, context.settings.lease) for facts in found))


@router.get("/{slot}")
def show_slot(slot: ThingName, context: Given) -> SlotDetail:
    """One slot, written HOST.g3, with the first of the jobs that may only run there."""
    with context.database.read() as session:
        now = context.database.now(session)
        facts = inventory.slots(session, slot, now=now)[0]
        demands = inventory.pinned_demands(session, facts.slot)
        queue = queries.queued_jobs(session, demands, LONGEST_QUEUE_SHOWN)
        return slot_detail(facts, queue, now, context.settings.lease)


@router.post("/{slot}/drain", openapi_extra=needs(Scope.OPERATOR))
def drain(slot: ThingName, context: Given, actor: Actor, body: Reason = _NO_REASON) -> SlotView:
    """Let a slot finish what it runs and take no more. What is assigned to it and not begun is placed elsewhere."""
    return _served(context, slot, actor, body, ownership.drain)


@router.post("/{slot}/resume", openapi_extra=needs(Scope.OPERATOR))
def resume(slot: ThingName, context: Given, actor: Actor, body: Reason = _NO_REASON) -> SlotView:
    """Give a slot work again, whatever took it out of service."""
    return _served(context, slot, actor, body, ownership.resume)


@router.post("/{slot}/quarantine", openapi_extra=needs(Scope.OPERATOR))
def quarantine(slot: ThingName, context: Given, actor: Actor, body: Reason = _NO_REASON) -> SlotView:
    """Give a suspect slot no work until someone resumes it; what it runs goes on."""
    return _served(context, slot, actor, body, ownership.quarantine)


def _served(context: Context, slot: str, actor: str, body: Reason, change: Callable[..., None]) -> SlotView:
    with steering.ordered(context.database) as (session, now):
        change(session, slot, by=actor, note=body.note, now=now)
        session.flush()
        return slot_view(inventory.slots(session, slot, now=now)[0], now, context.settings.lease)
