"""Reservations: slots that a person, or maintenance, has for a time."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from orchestrator.model.orders import Note
from orchestrator.model.specs import Name, Strict

LONGEST = timedelta(days=30)
FARTHEST = timedelta(days=366)
"""How far ahead one may start: who plans further has mistyped the year."""

MOST_SLOTS = 1000


class ReservationState(StrEnum):
    """The state of a reservation, by the database's clock."""

    COMING = "coming"
    CURRENT = "current"
    ENDED = "ended"
    CANCELLED = "cancelled"


def _moment(value: object) -> object:
    """An ISO 8601 text with its zone. Pydantic alone would read a number as seconds since 1970."""
    example = "like 2026-03-01T14:00:00+08:00"
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        moment = None
    if not isinstance(moment, datetime):
        raise ValueError(f"not a date and time: write it as text with a time zone, {example}")
    if moment.utcoffset() is None:
        raise ValueError(f"the time zone is missing: write it {example}, or with Z for UTC")
    return moment


Moment = Annotated[datetime, BeforeValidator(_moment)]


class ReservationRequest(Strict):
    """A request to reserve slots: when, for which project and why."""

    slots: tuple[Name, ...] = Field(default=(), max_length=MOST_SLOTS, description="Written HOST.g3.")
    hosts: tuple[Name, ...] = Field(default=(), max_length=MOST_SLOTS, description="All slots of these hosts.")
    starts_at: Moment | None = Field(default=None, description="With time zone. Default: now.")
    ends_at: Moment | None = Field(default=None, description="With time zone; give this or `seconds`.")
    seconds: int | None = Field(default=None, ge=1, le=int(LONGEST.total_seconds()), description="From its start.")
    project: Name | None = Field(default=None, description="Project whose jobs may run inside. Default: none.")
    note: Note | None = None

    @model_validator(mode="after")
    def _whole(self) -> "ReservationRequest":
        if not self.slots and not self.hosts:
            raise ValueError("name the slots (HOST.g3), or hosts")
        if (self.ends_at is None) == (self.seconds is None):
            raise ValueError("the end is missing: give either ends_at or seconds")
        return self


def state_of(
    *, starts_at: datetime, ends_at: datetime, ended_at: datetime | None, cancelled: bool, now: datetime
) -> ReservationState:
    """The state at `now`; the end itself is outside."""
    if cancelled:
        return ReservationState.CANCELLED
    if ended_at is not None or ends_at <= now:
        return ReservationState.ENDED
    return ReservationState.CURRENT if starts_at <= now else ReservationState.COMING
