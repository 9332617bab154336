"""What ran on card groups between two times, when they were reserved, and when they were out of service.

Attempts are found by the time at which they ended, which has an index, so that a window costs what is in it. All
functions read in the caller's session and change nothing.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, select, text
from sqlalchemy.orm import Session

from orchestrator.model.failures import FailureKind
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import AttemptState
from orchestrator.model.timeline import SpanKind
from orchestrator.storage.tables import SLOT_HISTORY, Attempt, Event, Job, Lease, Reservation, ReservationSlot, Slot

MOST_LANES = 64
"""Card groups of one timeline."""

MOST_SPANS = 800
"""Attempts of one timeline; of more, the latest."""

MOST_EVENTS = 1000
"""Changes of service of one timeline; of more, the latest."""

MOST_RESERVED = 200


@dataclass(frozen=True)
class Span:
    """One span; `end` is None while it lasts."""

    kind: SpanKind
    start: datetime
    end: datetime | None
    state: str
    """Of the attempt (`fault`: spoiled by the infrastructure), or `draining`, `drained`, `quarantined`, `reserved`."""
    job_id: int | None = None
    name: str | None = None
    """Of the job; of a reservation the project that may run."""
    limit_at: datetime | None = None
    """When what runs reaches its run limit."""


@dataclass(frozen=True)
class Lane:
    """A card group."""

    slot_id: str
    spans: Sequence[Span]


@dataclass(frozen=True)
class Timeline:
    """Lanes in the order of hosts and card groups."""

    lanes: Sequence[Lane]
    complete_from: datetime
    """Attempts that ended before are not listed: there were too many."""
    more_lanes: int


def timeline(session: Session, begin: datetime, end: datetime, *, host: str | None, now: datetime) -> Timeline:
    """All card groups, or those of one host, from `begin` to `end`."""
    slots = select(Slot.id).where(Slot.kind == SlotKind.CARD_GROUP).order_by(Slot.host, Slot.name)
    every = session.scalars(slots if host is None else slots.where(Slot.host == host)).all()
    shown = every[:MOST_LANES]
    spans = defaultdict[str, list[Span]](list)
    complete_from = _ran(session, shown, begin, end, now, spans)
    _reserved(session, shown, begin, end, spans)
    _out(session, shown, begin, end, spans)
    lanes = [Lane(slot, sorted(spans[slot], key=lambda span: span.start)) for slot in shown]
    return Timeline(lanes, complete_from, len(every) - len(shown))


Lanes = defaultdict[str, list[Span]]

_COLUMNS = (
    Attempt.slot_ids, Attempt.started_at, Attempt.assigned_at, Attempt.ended_at, Attempt.state,
    Attempt.failure["kind"].as_string().label("failure"), Job.id.label("job_id"), Job.name, Job.run_seconds,
)  # fmt: skip


def _ran(
    session: Session, slots: Collection[str], begin: datetime, end: datetime, now: datetime, lanes: Lanes
) -> datetime:
    columns: Select[Any] = select(*_COLUMNS).join(Job, Job.id == Attempt.job_id)
    within = columns.where(Attempt.ended_at > begin, Attempt.ended_at <= end).order_by(Attempt.ended_at.desc())
    found: list[Row[Any]] = list(session.execute(within.limit(MOST_SPANS + 1)))
    complete_from = found[MOST_SPANS - 1].ended_at if len(found) > MOST_SPANS else begin
    found = found[:MOST_SPANS]
    held = select(Lease.attempt_id).where(Lease.slot_id.in_(slots))
    found += session.execute(columns.where(Attempt.id.in_(held), Attempt.assigned_at < end))
    for slot in slots if end < now else ():
        # Attempts of one slot do not overlap: at most one runs across the end.
        across = columns.where(Attempt.slot_id == slot, Attempt.ended_at > end).order_by(Attempt.ended_at).limit(1)
        found += [row for row in session.execute(across) if row.assigned_at < end]
    for row in found:
        span = _attempt(row)
        for slot in set(row.slot_ids) & set(slots):
            lanes[slot].append(span)
    return complete_from


def _attempt(row: Row[Any]) -> Span:
    state = "fault" if row.failure == FailureKind.FAULT else str(row.state)
    limit = None
    if row.state is AttemptState.RUNNING and row.started_at is not None:
        limit = row.started_at + timedelta(seconds=row.run_seconds)
    start = row.started_at or row.assigned_at
    return Span(SpanKind.RAN, start, row.ended_at, state, row.job_id, row.name, limit)


def _reserved(session: Session, slots: Collection[str], begin: datetime, end: datetime, lanes: Lanes) -> None:
    columns = (Reservation.starts_at, Reservation.ends_at, Reservation.ended_at, Reservation.project)
    windows = select(ReservationSlot.slot_id, *columns).join(
        Reservation, Reservation.id == ReservationSlot.reservation_id
    )
    among = (ReservationSlot.slot_id.in_(slots), Reservation.starts_at < end, Reservation.ends_at > begin)
    latest = windows.where(*among).order_by(Reservation.id.desc()).limit(MOST_RESERVED)
    for slot, start, planned, over, project in session.execute(latest):
        ended = min(planned, over or planned)
        if begin < ended and start < ended:
            lanes[slot].append(Span(SpanKind.RESERVED, start, ended, "reserved", name=project))


_BACK = frozenset({"slot.resumed"})
_LEFT = {"slot.draining": "draining", "slot.drained": "drained", "slot.quarantined": "quarantined"}


def _out(session: Session, slots: Collection[str], begin: datetime, end: datetime, lanes: Lanes) -> None:
    # As text, because a partial index is only used for the exact text of its condition.
    changes = select(Event.slot_id, Event.kind, Event.at).where(Event.slot_id.in_(slots), text(SLOT_HISTORY))
    latest = session.execute(changes.where(Event.at < end).order_by(Event.id.desc()).limit(MOST_EVENTS)).all()
    for slot, spans in _services((slot, kind, at) for slot, kind, at in reversed(latest) if slot is not None).items():
        lanes[slot] += [span for span in spans if span.end is None or span.end > begin]


def _services(changes: Iterable[tuple[str, str, datetime]]) -> dict[str, list[Span]]:
    """From changes of service, oldest first, to spans out of it."""
    since: dict[str, tuple[datetime, str]] = {}
    found = defaultdict[str, list[Span]](list)
    for slot, kind, at in changes:
        if kind not in _BACK and kind not in _LEFT:
            continue
        if slot in since:
            start, state = since.pop(slot)
            found[slot].append(Span(SpanKind.OUT, start, at, state))
        if kind in _LEFT:
            since[slot] = at, _LEFT[kind]
    for slot, (start, state) in since.items():
        found[slot].append(Span(SpanKind.OUT, start, None, state))
    return found
