"""What the time of a slot went into, day by day: from the attempts that its worker ran and that have ended."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.model.failures import FailureKind
from orchestrator.model.states import AttemptState
from orchestrator.storage.tables import Attempt, Job

MOST_ATTEMPTS = 2000
"""The latest that are read: 14 days of attempts of ten minutes. Of more, the first days are missing."""


@dataclass
class DeviceDay:
    """Seconds of one day, by the outcome of the attempts; what is missing to 24 hours was without an attempt."""

    day: date
    succeeded: float = 0.0
    failed: float = 0.0
    """Of the job's own failures, and of attempts that were cancelled or stopped."""
    faults: float = 0.0
    canaries: float = 0.0


def device_days(session: Session, slot_id: str, *, now: datetime, days: int, zone: tzinfo) -> list[DeviceDay]:
    """The days up to today in a time zone, oldest first; an attempt over midnight is parted."""
    today = now.astimezone(zone).date()
    first = today - timedelta(days=days - 1)
    since = datetime.combine(first, time(), zone)
    failure = Attempt.failure["kind"].as_string()
    columns = select(Attempt.started_at, Attempt.ended_at, Attempt.state, failure, Job.kind)
    ended = columns.join(Job, Job.id == Attempt.job_id).where(
        Attempt.slot_id == slot_id, Attempt.ended_at > since, Attempt.started_at.is_not(None)
    )
    rows = [
        (started, over, _name(kind, state, why))
        for started, over, state, why, kind in session.execute(
            ended.order_by(Attempt.ended_at.desc()).limit(MOST_ATTEMPTS + 1)
        )
        if started is not None and over is not None
    ]
    if len(rows) > MOST_ATTEMPTS:
        first = rows.pop()[1].astimezone(zone).date() + timedelta(days=1)
    found: dict[date, DeviceDay] = {}
    for number in range(max((today - first).days + 1, 0)):
        found[first + timedelta(days=number)] = DeviceDay(first + timedelta(days=number))
    for started, over, name in rows:
        for day, seconds in _parts(started, over, zone).items():
            if day in found:
                setattr(found[day], name, getattr(found[day], name) + seconds)
    return list(found.values())


def _name(kind: str, state: AttemptState, failure: str | None) -> str:
    if kind == "canary":
        return "canaries"
    if state is AttemptState.SUCCEEDED:
        return "succeeded"
    return "faults" if failure == FailureKind.FAULT else "failed"


def _parts(start: datetime, end: datetime, zone: tzinfo) -> dict[date, float]:
    found: defaultdict[date, float] = defaultdict(float)
    for day, begin, over in _days(start.astimezone(zone), end.astimezone(zone), zone):
        found[day] += over.timestamp() - begin.timestamp()
    return found


def _days(start: datetime, end: datetime, zone: tzinfo) -> Iterator[tuple[date, datetime, datetime]]:
    while start < end:
        midnight = datetime.combine(start.date() + timedelta(days=1), time(), zone)
        yield start.date(), start, min(end, midnight)
        start = midnight
