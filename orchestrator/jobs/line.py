"""The line: which queued jobs come next, in order, so that the end of an attempt starts the next job on its slot.

A job in line is an ordinary queued job: it has no slot, no lease and no attempt, and the next turn may place it
elsewhere. The dispatcher writes the line (`store`) as `orchestrator.scheduling.line` decides it. The transaction that
ends an attempt takes the first job of the line that its slot admits and that is still queued (`take`), with the same
guards as every other transition. Whatever changes the order discards the line (`forget`); until the next turn has
written another, only turns place jobs.

Who discards the line has locked every job that it needs before, and `take` comes after the locks of the attempt that
ended and before those of projects (`shares.charge`), so that no two transactions wait for each other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from sqlalchemy import bindparam, exists, func, insert, or_, select, update
from sqlalchemy.orm import Session

from orchestrator.jobs import leases, statements
from orchestrator.jobs.ownership import Owner
from orchestrator.model.demand import Demand, FreeSlot, free_slot
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.storage import events
from orchestrator.storage.database import run, run_for
from orchestrator.storage.tables import Base

WHY = "it was the next in line when the job before it on this slot ended"

FRESH = timedelta(seconds=60)
"""How old a line may be when a job is taken from it twice over: urgency grows and shares fade while it stands."""
SHORT = timedelta(seconds=2)
"""While several projects have queued jobs, only the end of an attempt that was no longer than this takes from the line:
a longer one changes which project is next."""

_AT_ONCE = 16
"""Jobs of the line that are looked up in one statement."""
_LINE, _JOB, _ATTEMPT, _SLOT, _LEASE, _RESERVATION, _RESERVED = (
    Base.metadata.tables[name]
    for name in ("line", "job", "attempt", "slot", "lease", "reservation", "reservation_slot")
)
_ONE = _LINE.c.id == 1

_LOOK = select(_LINE, _JOB.c.state).outerjoin(_JOB, _JOB.c.id == _LINE.c.middle).where(_ONE)
_TO_TAKE = select(_LINE.c.jobs, _LINE.c.size, _LINE.c.planned_at, _LINE.c.several).where(_ONE)
_TO_TAKE = _TO_TAKE.with_for_update(read=True)
"""No other process can discard the line before the job that is taken from it is taken."""
_STORE = update(_LINE).where(_ONE)
_CREATE = insert(_LINE)
_FORGET = _STORE.where(or_(_LINE.c.size > 0, _LINE.c.due_at.is_(None)))

_TAKER = select(_SLOT.c.name, _SLOT.c.labels, _SLOT.c.kcore, _SLOT.c.lacks).where(
    _SLOT.c.id == bindparam("taker"),
    _SLOT.c.worker == bindparam("owner"),
    _SLOT.c.service_state == ServiceState.IN_SERVICE,
    _SLOT.c.deaf.is_(None),
    _SLOT.c.heartbeat_at > bindparam("alive_since"),
    ~exists().where(_LEASE.c.slot_id == _SLOT.c.id),
    # Only a turn weighs a job against a reservation.
    ~exists().where(
        _RESERVED.c.slot_id == _SLOT.c.id,
        _RESERVATION.c.id == _RESERVED.c.reservation_id,
        _RESERVATION.c.ended_at.is_(None),
        _RESERVATION.c.ends_at > bindparam("now"),
    ),
)
"""The slot, if it takes the next job by itself."""
_PLACEABLE = _JOB.c.state == JobState.QUEUED, ~_JOB.c.held
_STILL_QUEUED = select(_JOB.c.id).where(_JOB.c.id.in_(bindparam("jobs", expanding=True)), *_PLACEABLE)
_LOCK = (
    select(_JOB.c.started_at)
    .where(_JOB.c.id == bindparam("wanted"), *_PLACEABLE)
    .with_for_update(key_share=True, skip_locked=True)
)
_STARTED = select(_ATTEMPT.c.started_at).where(_ATTEMPT.c.id == bindparam("ended"))
_NUMBER = select(func.count() + 1).select_from(_ATTEMPT).where(_ATTEMPT.c.job_id == bindparam("tried"))
_TRY = insert(_ATTEMPT).values(number=_NUMBER.scalar_subquery()).returning(_ATTEMPT.c.id)
_NOTE_KCORE = update(_SLOT).where(_SLOT.c.id == bindparam("taker"))
_ARRIVALS = select(_JOB.c.priority, _JOB.c.project, _JOB.c.demand).distinct()


@dataclass(frozen=True)
class InLine:
    """A queued job in line, its demand class, and the kernel image that it runs."""

    job_id: int
    demand: str
    kcore: str | None = None


@dataclass(frozen=True)
class NextJobs:
    """What the dispatcher decided: the jobs, the first one first."""

    jobs: Sequence[InLine] = ()
    several: bool = False
    """Several projects have queued jobs."""
    lowest: int = 0
    """The lowest priority in it, as submitted."""
    project: str | None = None
    """The project of all of them; None if they are of several."""


def is_due(session: Session, now: datetime) -> bool:
    """Whether the line has to be decided again: it is half used up, too old, or was discarded."""
    row = session.connection().execute(_LOOK).first()
    if row is None or row.planned_at > now:  # the clock was set back
        return True
    half = row.size > 0 and row.state is not JobState.QUEUED
    return half or (row.due_at is not None and row.due_at <= now)


def store(session: Session, line: NextJobs, *, now: datetime) -> None:
    """Replace the line. The caller holds the admission lock.

    An empty one is decided again when a job is queued, or a turn has placed one."""
    middle = line.jobs[len(line.jobs) // 2].job_id if line.jobs else None
    values: dict[str, Any] = {
        "planned_at": now, "due_at": now + FRESH if line.jobs else None, "size": len(line.jobs), "middle": middle,
        "several": line.several, "lowest": line.lowest, "project": line.project,
        "jobs": {"jobs": [[each.job_id, each.demand, each.kcore] for each in line.jobs]},
    }  # fmt: skip
    if run(session, _STORE, **values).rowcount == 0 and line.jobs:
        run(session, _CREATE, id=1, **values)


def forget(session: Session, *, now: datetime) -> None:
    """Discard the line: something changed which job is next. The caller needs no further lock on a job."""
    run(session, _FORGET, size=0, jobs={}, middle=None, due_at=now)


def note_queued(session: Session, job_ids: Sequence[int], *, now: datetime) -> None:
    """These new jobs were queued: the line is discarded if one of them comes before a job in it, or may wait for
    several slots."""
    row = session.connection().execute(_LOOK).first()
    if row is None or not job_ids:
        return
    if row.size == 0:
        forget(session, now=now)
        return
    found = session.connection().execute(_ARRIVALS.where(_JOB.c.id.in_(job_ids)))
    if any(_comes_before(each, row) for each in found):
        forget(session, now=now)


def _comes_before(new: Any, line: Any) -> bool:
    if new.priority < line.lowest:
        return False
    return new.priority > line.lowest or new.project != line.project or _demand(new.demand).slots > 1


def take(session: Session, ended: int, *, owner: Owner, now: datetime, lease: timedelta) -> int | None:
    """Start the next job in line on the slot of an attempt that ended in this transaction; returns the new attempt,
    which runs and is the worker's.

    None if the line is empty, discarded or too old, or if only a turn may place a job on this slot.
    """
    line = run(session, _TO_TAKE).first()
    if line is None or line.size == 0 or not now - 2 * FRESH < line.planned_at <= now:
        return None
    if line.several and now - run(session, _STARTED, ended=ended).scalar_one() > SHORT:
        return None
    asked = {"taker": owner.slot_id, "owner": owner.worker}
    row = run(session, _TAKER, **asked, alive_since=now - lease, now=now).first()
    if row is None:
        return None
    slot = free_slot(owner.slot_id, row.name, row.labels, row.kcore, lacks=row.lacks)
    wanted = [InLine(*each) for each in line.jobs["jobs"]]
    wanted = [each for each in wanted if _demand(each.demand).admits(slot)]
    for first in range(0, len(wanted), _AT_ONCE):
        some = wanted[first : first + _AT_ONCE]
        queued = set(run(session, _STILL_QUEUED, jobs=[each.job_id for each in some]).scalars())
        for each in some:
            if each.job_id in queued and (job := run(session, _LOCK, wanted=each.job_id).first()) is not None:
                return _start(session, each, job.started_at, slot, owner=owner, now=now, lease=lease)
    return None


def _start(
    session: Session, job: InLine, started_at: datetime | None, slot: FreeSlot, *, owner: Owner, now: datetime,
    lease: timedelta,
) -> int:  # fmt: skip
    """From the queue to the worker, which has locked the job: what `bulk.assign` and `lifecycle.claim` do, at once."""
    attempt_id = run(
        session, _TRY, tried=job.job_id, job_id=job.job_id, slot_id=slot.id, slot_ids=[slot.id],
        state=AttemptState.RUNNING, worker=owner.worker, assigned_at=now, started_at=now,
    ).scalar_one()  # fmt: skip
    leases.take(session, [(slot.id, attempt_id)], until=now + lease)
    moved = {"moved": job.job_id, "start": JobState.QUEUED, "state": JobState.RUNNING}
    run(session, statements.MOVE_JOB, **moved, started_at=started_at or now)
    about = {"at": now, "job_id": job.job_id, "attempt_id": attempt_id, "slot_id": slot.id}
    told = [
        {**about, "kind": "attempt.assigned", "data": {"why": WHY}},
        {**about, "kind": "job.running", "data": {"start": JobState.QUEUED}},
    ]
    run_for(session, events.RECORD, told)
    if job.kcore is not None and job.kcore != slot.kcore:
        run(session, _NOTE_KCORE, taker=slot.id, kcore=job.kcore)
    return int(attempt_id)


@lru_cache(maxsize=1024)
def _demand(key: str) -> Demand:
    return Demand.parse(key)
