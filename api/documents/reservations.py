"""The documents about reservations; what a client sends is in `orchestrator.model.reservations`."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from orchestrator.model.reservations import ReservationState


class ReachingView(View):
    """A job that has a reserved slot and may run there inside the reservation."""

    job_id: int
    name: str
    slot_id: str
    until: datetime = Field(description="When its run limit ends it, at the latest.")


class Cancellation(View):
    """Who ended a reservation before its time, why and when."""

    by: str
    note: str | None
    at: datetime


class ReservationView(View):
    """A reservation of slots."""

    id: int
    state: ReservationState
    slots: tuple[str, ...]
    project: str | None = Field(description="Project whose jobs may run inside; null: none.")
    by: str
    note: str | None
    starts_at: datetime
    ends_at: datetime = Field(description="As planned; a cancelled one ended earlier.")
    created_at: datetime
    began_at: datetime | None
    ended_at: datetime | None
    cancelled: Cancellation | None
    reaching: tuple[ReachingView, ...] = Field(
        description="Jobs that run on its slots and may reach into it: they continue."
    )
