"""Hosts: which are there, how their slots stand, and since when one is away."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter

from api.access import GuardedRoute
from api.context import Given
from api.hosts import HostDetail, HostView
from api.parameters import ThingName
from api.schemas import Occupancy, Page, Presence, SlotView
from api.views import slot_view
from orchestrator import hosts
from orchestrator.hosts import HostFacts
from orchestrator.model.states import ServiceState

router = APIRouter(prefix="/hosts", tags=["hosts"], route_class=GuardedRoute)

_NEVER = datetime.min.replace(tzinfo=UTC)


@router.get("")
def list_hosts(context: Given) -> Page[HostView]:
    """All hosts by name."""
    lost_after = context.settings.lease
    with context.database.read() as session:
        now = context.database.now(session)
        found = hosts.hosts(session, now=now, lost_after=lost_after)
        return Page(items=tuple(HostView.model_validate(_fields(facts, now, lost_after)) for facts in found))


@router.get("/{host}")
def show_host(host: ThingName, context: Given) -> HostDetail:
    """One host with its slots."""
    lost_after = context.settings.lease
    with context.database.read() as session:
        now = context.database.now(session)
        (facts,) = hosts.hosts(session, host, now=now, lost_after=lost_after)
        return HostDetail.model_validate(_fields(facts, now, lost_after))


def _fields(facts: HostFacts, now: datetime, lost_after: timedelta) -> dict[str, Any]:
    places = [slot_view(slot, now, lost_after) for slot in facts.slots]
    latest = max(facts.slots, key=lambda slot: slot.slot.heartbeat_at or _NEVER)
    return {
        "name": facts.name,
        "labels": latest.slot.labels or {},
        "last_seen_at": facts.last_seen_at,
        "away_since": facts.away_since,
        "slots": len(places),
        "free": Counter(place.kind for place in places if _is_free(place)),
        "presence": Counter(place.presence for place in places),
        "occupancy": Counter(place.occupancy for place in places),
        "service": Counter(place.service_state for place in places),
        "places": places,
    }


def _is_free(place: SlotView) -> bool:
    usable = place.presence is Presence.ALIVE and place.service_state is ServiceState.IN_SERVICE
    return usable and place.occupancy is Occupancy.FREE
