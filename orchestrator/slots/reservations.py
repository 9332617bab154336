"""Reservations: made, cancelled, recorded when they begin and end, and read for placement and for users.

A writer holds the admission lock (`storage.database.ordered`), so that one slot is never reserved twice for the same
time and nothing is placed meanwhile. A reservation is effective by its times alone: `note_passages` only records
events, and withdraws attempts that were assigned before the beginning and have not started by then. `now` is the
database's clock.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Select, and_, bindparam, or_, select
from sqlalchemy.orm import Session

from orchestrator.clock import as_utc
from orchestrator.errors import AlreadyReserved, BadRequest, IllegalTransition, NotFound
from orchestrator.jobs.lifecycle import withdraw
from orchestrator.model.reservations import FARTHEST, LONGEST, ReservationRequest, ReservationState, state_of
from orchestrator.model.states import AttemptState
from orchestrator.model.windows import Window
from orchestrator.storage.events import record
from orchestrator.storage.tables import Attempt, Base, Job, Lease, Reservation, ReservationSlot, Slot

MOST_LISTED = 5
"""Number of other reservations that a refusal names."""

# Built once, on plain tables: every turn runs this, and building it takes longer than running it.

_RESERVATION, _RESERVED = (Base.metadata.tables[name] for name in ("reservation", "reservation_slot"))


def _windows() -> Select[str, int, datetime, datetime, str | None, str, str | None]:
    columns = (_RESERVATION.c[name] for name in ("id", "starts_at", "ends_at", "project", "by", "note"))
    found = select(_RESERVED.c.slot_id, *columns).join(_RESERVATION, _RESERVATION.c.id == _RESERVED.c.reservation_id)
    not_over = (_RESERVATION.c.ended_at.is_(None), _RESERVATION.c.ends_at > bindparam("now"))
    return found.where(*not_over).order_by(_RESERVATION.c.starts_at, _RESERVATION.c.id)


_WINDOWS = _windows()


@dataclass(frozen=True)
class Reaching:
    """A job that has a reserved slot, and may run there inside the reservation, until `until` at the latest."""

    job_id: int
    name: str
    slot_id: str
    until: datetime


@dataclass(frozen=True)
class ReservationFacts:
    """A reservation, its state, its slots, and jobs that may still run inside it."""

    reservation: Reservation
    state: ReservationState
    slots: Sequence[str]
    reaching: Sequence[Reaching]


# ── what is reserved ──────────────────────────────────────────────────────────────────────────────────────────────────


def windows(session: Session, now: datetime) -> dict[str, tuple[Window, ...]]:
    """For each reserved slot the times that are not over, the earliest first."""
    found: dict[str, list[Window]] = defaultdict(list)
    for row in session.execute(_WINDOWS, {"now": now}):
        found[row.slot_id].append(Window(row.id, row.starts_at, row.ends_at, row.project, row.by, row.note))
    return {slot_id: tuple(times) for slot_id, times in found.items()}


def reservations(
    session: Session,
    now: datetime,
    *,
    limit: int,
    before: int | None = None,
    past: bool = False,
    slot: str | None = None,
) -> list[ReservationFacts]:
    """Reservations with numbers below `before`, the newest first; with `past`, those that are over too."""
    chosen = select(Reservation).order_by(Reservation.id.desc()).limit(limit)
    if before is not None:
        chosen = chosen.where(Reservation.id < before)
    if not past:
        chosen = chosen.where(Reservation.ended_at.is_(None), Reservation.ends_at > now)
    if slot is not None:
        on_slot = select(ReservationSlot.reservation_id).where(ReservationSlot.slot_id == slot)
        chosen = chosen.where(Reservation.id.in_(on_slot))
    return _facts(session, session.scalars(chosen).all(), now)


def reservation(session: Session, reservation_id: int, now: datetime) -> ReservationFacts:
    """One reservation; NotFound if there is none."""
    found = session.get(Reservation, reservation_id)
    if found is None:
        raise NotFound(f"there is no reservation {reservation_id}; see: tx81 reservations --past")
    return _facts(session, [found], now)[0]


# ── orders of users ───────────────────────────────────────────────────────────────────────────────────────────────────


def reserve(session: Session, request: ReservationRequest, *, by: str, now: datetime) -> ReservationFacts:
    """Reserve slots for a time. Jobs that run on them continue, and `reaching` reports until when.

    NotFound for an unknown slot or host; BadRequest if the times make no sense; AlreadyReserved, naming the others, if
    one of the slots is already reserved for some of that time.
    """
    starts_at, ends_at = _times(request, now)
    slots = _slots(session, request)
    _refuse_overlap(session, slots, starts_at, ends_at, now)
    row = Reservation(
        project=request.project, by=by, note=request.note, starts_at=starts_at, ends_at=ends_at, created_at=now
    )
    session.add(row)
    session.flush()
    session.add_all(ReservationSlot(reservation_id=row.id, slot_id=slot_id) for slot_id in slots)
    _record(session, "created", row, slots, now, by=by, note=row.note)
    if starts_at <= now:
        _begin(session, row, slots, now)
    return reservation(session, row.id, now)


def cancel(
    session: Session, reservation_id: int, *, by: str, note: str | None = None, now: datetime
) -> ReservationFacts:
    """End a reservation now, or before it begins; a cancelled one stays cancelled. IllegalTransition if it is over."""
    found = reservation(session, reservation_id, now)
    if found.state is ReservationState.ENDED:
        raise IllegalTransition(f"reservation {reservation_id} has already ended")
    if found.state is not ReservationState.CANCELLED:
        row = found.reservation
        row.ended_at, row.cancelled = now, {"by": by, "note": note, "at": now.isoformat()}
        _record(session, "cancelled", row, found.slots, now, by=by, note=note)
    return reservation(session, reservation_id, now)


# ── what happens with time ────────────────────────────────────────────────────────────────────────────────────────────


def passages(session: Session, now: datetime) -> Sequence[int]:
    """The reservations whose beginning or end has not been recorded yet."""
    due = or_(and_(Reservation.began_at.is_(None), Reservation.starts_at <= now), Reservation.ends_at <= now)
    return session.scalars(select(Reservation.id).where(Reservation.ended_at.is_(None), due)).all()


def note_passages(session: Session, now: datetime) -> None:
    """Record, for each reservation that is due, that it has begun or ended."""
    for reservation_id in passages(session, now):
        found = reservation(session, reservation_id, now)
        row = found.reservation
        if row.began_at is None:
            _begin(session, row, found.slots, now)
        if row.ends_at <= now:
            row.ended_at = now
            _record(session, "ended", row, found.slots, now, by=row.by)


def _begin(session: Session, row: Reservation, slots: Sequence[str], now: datetime) -> None:
    row.began_at = now
    _record(session, "began", row, slots, now, by=row.by)
    if now < row.ends_at:
        unclaimed = _leased_to_others(slots, row.project).where(Attempt.state == AttemptState.ASSIGNED)
        for attempt_id in dict.fromkeys(session.scalars(unclaimed.with_only_columns(Attempt.id))):
            withdraw(session, attempt_id, now=now, why=f"reservation {row.id} of {row.by} has begun on its slot")


# ── shared steps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _times(request: ReservationRequest, now: datetime) -> tuple[datetime, datetime]:
    """From when until when, in UTC. Compared before anything is added or converted, since the largest year is 9999."""
    starts_at = request.starts_at or now
    if starts_at < now:
        raise BadRequest(
            f"it would start in the past: here it is {_in_utc(now)}; leave it out to start now", field="starts_at"
        )
    if starts_at > now + FARTHEST:
        raise BadRequest(f"it would start more than {FARTHEST.days} days ahead", field="starts_at")
    ends_at = request.ends_at or starts_at + timedelta(seconds=request.seconds or 0)
    if ends_at <= now:
        raise BadRequest(f"it would end in the past: here it is {_in_utc(now)}", field="ends_at")
    if ends_at <= starts_at:
        raise BadRequest(f"it would end before it starts, which is at {_in_utc(as_utc(starts_at))}", field="ends_at")
    if ends_at - starts_at > LONGEST:
        raise BadRequest(f"it would last more than {LONGEST.days} days; reserve again when it ends", field="ends_at")
    return as_utc(starts_at), as_utc(ends_at)


def _slots(session: Session, request: ReservationRequest) -> list[str]:
    """The named slots, each once, in the order of their names."""
    wanted = or_(Slot.id.in_(request.slots), Slot.host.in_(request.hosts))
    rows = session.execute(select(Slot.id, Slot.host).where(wanted)).all()
    for field, named, known in (
        ("slots", request.slots, {slot_id for slot_id, _ in rows}),
        ("hosts", request.hosts, {host for _, host in rows}),
    ):
        for name in named:
            if name not in known:
                what = f"slot {name}: slots are written HOST.g3" if field == "slots" else f"slot of a host {name}"
                raise NotFound(f"there is no {what}; see: tx81 slots", field=field)
    return sorted(slot_id for slot_id, _ in rows)


def _refuse_overlap(
    session: Session, slots: Iterable[str], starts_at: datetime, ends_at: datetime, now: datetime
) -> None:
    known = windows(session, now)
    others = {
        window.reservation_id: f"{slot_id} is reserved by {_described(window)}"
        for slot_id in slots
        for window in reversed(known.get(slot_id, ()))
        if starts_at < window.ends_at and window.starts_at < ends_at
    }
    if others:
        told = [others[number] for number in sorted(others)[:MOST_LISTED]]
        more = f"; and {len(others) - MOST_LISTED} more" if len(others) > MOST_LISTED else ""
        raise AlreadyReserved(
            f"{'; '.join(told)}{more}; choose another time or slot, or cancel: tx81 unreserve {min(others)}",
            field="slots",
            reservations=sorted(others),
        )


def _described(window: Window) -> str:
    note = f": {window.note}" if window.note else ""
    return (
        f"{window.by} from {_in_utc(window.starts_at)} until {_in_utc(window.ends_at)} ({window.reservation_id}{note})"
    )


def _in_utc(moment: datetime) -> str:
    return f"{as_utc(moment):%Y-%m-%d %H:%M:%S} UTC"


def _leased_to_others(slots: Iterable[str], project: str | None) -> Select[Lease, Attempt, Job]:
    """Jobs that have some of the slots and do not belong to the project."""
    tried = select(Lease, Attempt, Job).join(Attempt, Attempt.id == Lease.attempt_id)
    found = tried.join(Job, Job.id == Attempt.job_id).where(Lease.slot_id.in_(slots)).order_by(Lease.slot_id)
    return found if project is None else found.where(Job.project != project)


def _facts(session: Session, found: Sequence[Reservation], now: datetime) -> list[ReservationFacts]:
    slots: dict[int, list[str]] = defaultdict(list)
    numbers = [row.id for row in found]
    for row in session.scalars(select(ReservationSlot).where(ReservationSlot.reservation_id.in_(numbers))):
        slots[row.reservation_id].append(row.slot_id)
    return [_placed(session, row, sorted(slots[row.id]), now) for row in found]


def _placed(session: Session, row: Reservation, slots: Sequence[str], now: datetime) -> ReservationFacts:
    cancelled = row.cancelled is not None
    state = state_of(starts_at=row.starts_at, ends_at=row.ends_at, ended_at=row.ended_at, cancelled=cancelled, now=now)
    live = state in (ReservationState.COMING, ReservationState.CURRENT)
    return ReservationFacts(row, state, slots, _reaching(session, row, slots, now) if live else ())


def _reaching(session: Session, row: Reservation, slots: Sequence[str], now: datetime) -> list[Reaching]:
    found = []
    for lease, attempt, job in session.execute(_leased_to_others(slots, row.project)):
        until = (attempt.started_at or now) + timedelta(seconds=job.run_seconds)
        if until > row.starts_at:
            found.append(Reaching(job.id, job.name, lease.slot_id, until))
    return found


def _record(
    session: Session, what: str, row: Reservation, slots: Sequence[str], now: datetime, **about: object
) -> None:
    about = {"reservation": row.id, "slots": list(slots), "project": row.project, **about}
    times = {"starts_at": row.starts_at.isoformat(), "ends_at": row.ends_at.isoformat()}
    record(session, f"reservation.{what}", now, **about, **times)
