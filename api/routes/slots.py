"""Slots: what each place is doing, and who waits for it."""

from fastapi import APIRouter

from api.access import GuardedRoute
from api.context import Given
from api.parameters import ThingName
from api.schemas import Page, SlotDetail, SlotView
from api.views import slot_detail, slot_view
from orchestrator import inventory, queries

router = APIRouter(prefix="/slots", tags=["slots"], route_class=GuardedRoute)

LONGEST_QUEUE_SHOWN = 100


@router.get("")
def list_slots(context: Given) -> Page[SlotView]:
    """All slots of all hosts."""
    with context.database.read() as session:
        now = context.database.now(session)
        found = inventory.slots(session)
        return Page(items=tuple(slot_view(facts, now, context.settings.lease) for facts in found))


@router.get("/{slot}")
def show_slot(slot: ThingName, context: Given) -> SlotDetail:
    """One slot, written HOST.g3, with the first of the jobs that may only run there."""
    with context.database.read() as session:
        now = context.database.now(session)
        facts = inventory.slots(session, slot)[0]
        demands = inventory.pinned_demands(session, facts.slot)
        queue = queries.queued_jobs(session, demands, LONGEST_QUEUE_SHOWN)
        return slot_detail(facts, queue, now, context.settings.lease)
