"""The documents about hosts.

Like `api.documents.base`, of which they are a part; the command line imports this module.
"""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from api.documents.slots import Occupancy, Presence, SlotView
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import ServiceState


class HostView(View):
    """One server with cards, and how many of its slots stand how."""

    name: str
    labels: dict[str, str] = Field(description="As announced by the worker that was seen last.")
    last_seen_at: datetime | None = Field(description="Latest heartbeat of any worker; null after all workers stopped.")
    away_since: datetime | None = Field(
        description="Null while a worker is present. No job is placed on a host that is away."
    )
    slots: int
    free: dict[SlotKind, int] = Field(description="Slots that could be given a job now.")
    presence: dict[Presence, int]
    occupancy: dict[Occupancy, int]
    service: dict[ServiceState, int]


class HostDetail(HostView):
    """A host with its slots."""

    places: tuple[SlotView, ...]
