"""What the time of each slot went into while a batch ran, in seconds."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orchestrator.model.batch_report import DeviceTime
from orchestrator.model.states import AttemptState, ServiceState
from orchestrator.storage.tables import Attempt, Event, Job, Reservation, ReservationSlot

_CHANGES = [f"slot.{state}" for state in ServiceState]


Interval = tuple[datetime, datetime]


def device_times(session: Session, batch_id: int, slot_ids: Collection[str]) -> list[DeviceTime]:
    """One for each of these slots; none before anything has run."""
    span = select(func.min(Attempt.started_at), func.max(func.coalesce(Attempt.ended_at, Attempt.started_at)))
    began, ended = session.execute(span.join(Job, Job.id == Attempt.job_id).where(Job.batch_id == batch_id)).one()
    if began is None or not slot_ids:
        return []
    ran, broken, reserved = (
        _attempts(session, slot_ids, began, ended),
        _quarantined(session, slot_ids, began, ended),
        _reserved(session, slot_ids, began, ended),
    )
    return [_one(slot, (began, ended), ran[slot], broken[slot], reserved[slot]) for slot in sorted(slot_ids)]


@dataclass(frozen=True)
class _Ran:
    when: Interval
    tool: float | None
    """Seconds of the tool in an attempt that succeeded."""


def _one(
    slot: str, span: Interval, ran: Sequence[_Ran], broken: Sequence[Interval], reserved: Sequence[Interval]
) -> DeviceTime:
    busy = [each.when for each in ran]
    attempts = [(_seconds([each.when]), each.tool) for each in ran]
    productive = sum(min(tool, seconds) for seconds, tool in attempts if tool is not None)
    good = sum(seconds for seconds, tool in attempts if tool is not None)
    lost = sum(seconds for seconds, tool in attempts if tool is None)
    idle_broken = _seconds(_without(broken, busy))
    idle_reserved = _seconds(_without(reserved, [*busy, *broken]))
    total = _seconds([span])
    waiting = max(0.0, total - good - lost - idle_broken - idle_reserved)
    return DeviceTime(slot, total, productive, good - productive, lost, idle_reserved, idle_broken, waiting)


def _attempts(session: Session, slots: Collection[str], began: datetime, ended: datetime) -> dict[str, list[_Ran]]:
    columns = select(Attempt.slot_ids, Attempt.started_at, Attempt.ended_at, Attempt.state, Attempt.seconds)
    within = columns.where(Attempt.ended_at > began, Attempt.ended_at <= ended, Attempt.started_at.is_not(None))
    running = columns.where(Attempt.state == AttemptState.RUNNING, Attempt.started_at < ended)
    rows = [*session.execute(within), *session.execute(running)]
    for slot in slots:
        # Attempts of one slot do not overlap: at most one runs across the end.
        across = columns.where(Attempt.slot_id == slot, Attempt.ended_at > ended).order_by(Attempt.ended_at).limit(1)
        rows += [row for row in session.execute(across) if row.started_at is not None and row.started_at < ended]
    found = defaultdict[str, list[_Ran]](list)
    for slot_ids, start, end, state, seconds in rows:
        when = max(start, began), min(end or ended, ended)
        tool = (seconds or 0.0) if state is AttemptState.SUCCEEDED else None
        for slot in set(slot_ids) & set(slots):
            found[slot].append(_Ran(when, tool))
    return found


def _quarantined(
    session: Session, slots: Collection[str], began: datetime, ended: datetime
) -> dict[str, list[Interval]]:
    changes = select(Event.slot_id, Event.kind, Event.at).where(
        Event.slot_id.in_(slots), Event.kind.in_(_CHANGES), Event.at < ended
    )
    since: dict[str, datetime] = {}
    found = defaultdict[str, list[Interval]](list)
    for slot, kind, at in session.execute(changes.order_by(Event.id)):
        if slot is not None and kind == f"slot.{ServiceState.QUARANTINED}":
            since.setdefault(slot, at)
        elif slot in since:
            found[slot].append((since.pop(slot), at))
    for slot, at in since.items():
        found[slot].append((at, ended))
    return defaultdict(list, {slot: _clipped(each, began, ended) for slot, each in found.items()})


def _reserved(session: Session, slots: Collection[str], began: datetime, ended: datetime) -> dict[str, list[Interval]]:
    windows = (
        select(ReservationSlot.slot_id, Reservation.starts_at, Reservation.ends_at, Reservation.ended_at)
        .join(Reservation, Reservation.id == ReservationSlot.reservation_id)
        .where(ReservationSlot.slot_id.in_(slots), Reservation.starts_at < ended, Reservation.ends_at > began)
    )
    found = defaultdict[str, list[Interval]](list)
    for slot, start, planned, over in session.execute(windows):
        found[slot] += _clipped([(start, min(planned, over or planned))], began, ended)
    return found


def _clipped(intervals: Iterable[Interval], began: datetime, ended: datetime) -> list[Interval]:
    cut = ((max(start, began), min(end, ended)) for start, end in intervals)
    return [(start, end) for start, end in cut if start < end]


def _without(intervals: Iterable[Interval], taken: Sequence[Interval]) -> list[Interval]:
    """What is left of the intervals outside `taken`."""
    left = list(intervals)
    for start, end in taken:
        left = [
            piece
            for a, b in left
            for piece in ((a, min(b, start)), (max(a, end), b))
            if piece[0] < piece[1]
        ]  # fmt: skip
    return left


def _seconds(intervals: Iterable[Interval]) -> float:
    return sum((end - start).total_seconds() for start, end in intervals)
