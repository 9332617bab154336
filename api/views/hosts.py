"""Hosts as documents."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

from api.documents.slots import Occupancy, Presence, SlotView
from api.views.slots import slot_view
from orchestrator.model.slots import GOLDEN_LABEL
from orchestrator.model.states import ServiceState
from orchestrator.slots.hosts import HostFacts

_NEVER = datetime.min.replace(tzinfo=UTC)


def host_fields(facts: HostFacts, now: datetime, lost_after: timedelta) -> dict[str, Any]:
    """What lists and the page of one host show of it."""
    places = [slot_view(slot, now, lost_after) for slot in facts.slots]
    latest = max(facts.slots, key=lambda slot: slot.slot.heartbeat_at or _NEVER)
    # What one seat carries the others need not.
    able = GOLDEN_LABEL if any(GOLDEN_LABEL.items() <= (slot.slot.labels or {}).items() for slot in facts.slots) else {}
    return {
        "name": facts.name,
        "labels": {**(latest.slot.labels or {}), **able},
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
