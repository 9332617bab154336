"""One turn: promote waiting jobs whose needs are met, place queued ones, commit; the caller rings after the commit."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import Integer, bindparam, exists, select
from sqlalchemy.orm import Session

from orchestrator import lifecycle
from orchestrator.admission import admissible, admit
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.placement.demand import Demand, FreeSlot, classes_with_a_slot
from orchestrator.placement.place import Candidate, place
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Base

PROMOTED_AT_ONCE = 100
"""Jobs admitted in one transaction: some tenths of a second."""

# Built once, on plain tables: these are asked at every wake-up, and building them takes longer than running them.

_JOB, _ATTEMPT, _LEASE, _SLOT = (Base.metadata.tables[name].c for name in ("job", "attempt", "lease", "slot"))

_QUEUED_CLASSES = select(_JOB.demand).distinct().where(_JOB.state == JobState.QUEUED, ~_JOB.held)

_FREE_SLOTS = (
    select(_SLOT.id, _SLOT.name)
    .where(
        _SLOT.service_state == ServiceState.IN_SERVICE,
        _SLOT.heartbeat_at > bindparam("alive_since"),
        ~exists().where(_LEASE.slot_id == _SLOT.id),
    )
    .order_by(_SLOT.last_ended_at.asc().nulls_first(), _SLOT.id)
)
"""Slots in service, with a live worker and no lease; longest idle first, so that wear is shared."""

_HEAD_OF_CLASS = (
    select(_JOB.id, _JOB.priority, _JOB.rank)
    .where(_JOB.state == JobState.QUEUED, ~_JOB.held, _JOB.demand == bindparam("key"))
    .order_by(_JOB.priority.desc(), _JOB.rank, _JOB.id)
    .limit(bindparam("most", type_=Integer))
)

_FAILED_SLOTS = select(_ATTEMPT.job_id, _ATTEMPT.slot_id).where(
    _ATTEMPT.job_id.in_(bindparam("jobs", expanding=True)),
    _ATTEMPT.state.in_((AttemptState.FAILED, AttemptState.LOST)),
)

_BELLS = (
    select(_ATTEMPT.id, _ATTEMPT.number, _ATTEMPT.slot_id, _ATTEMPT.job_id, _JOB.name, _JOB.kind)
    .join_from(Base.metadata.tables["attempt"], Base.metadata.tables["job"], _JOB.id == _ATTEMPT.job_id)
    .where(_ATTEMPT.id.in_(bindparam("attempts", expanding=True)))
    .order_by(_ATTEMPT.id)
)


@dataclass(frozen=True)
class Bell:
    """A worker to wake: for which attempt, on which queue, and what Flower shows."""

    attempt_id: int
    task_id: str
    queue: str
    description: str


def bells(session: Session, attempt_ids: Sequence[int]) -> list[Bell]:
    """The doorbells of attempts. A task id is new for every attempt: a revoked one is remembered by workers."""
    return [
        Bell(
            attempt_id=row.id,
            task_id=f"{row.job_id}.{row.number}",
            queue=row.slot_id,
            description=f"job {row.job_id} ({row.name}): {row.kind} on {row.slot_id}, attempt {row.number}",
        )
        for row in session.execute(_BELLS, {"attempts": attempt_ids})
    ]


def take_turn(database: Database, store: ArtifactStore, *, lease: timedelta, lost_after: timedelta) -> list[Bell]:
    """Promote and place until nothing more can move; returns the bells to ring now that all is committed."""
    with database.read() as session:
        now = database.now(session)
        idle = not admissible(session, limit=1) and not _placeable(session, now - lost_after)
    if idle:
        return []
    with database.write() as session:
        database.serialise(session, "admission")
        now = database.now(session)
        promote(session, store, now=now)
        return place_queued(session, now=now, lease=lease, lost_after=lost_after)


def promote(session: Session, store: ArtifactStore, *, now: datetime) -> None:
    """Admit waiting jobs until none can move (one that succeeds from the cache may free the next), or enough have.

    The rest follows in the next turn, which this one's commit wakes: on SQLite nobody else can write meanwhile.
    """
    seen: set[int] = set()
    while len(seen) < PROMOTED_AT_ONCE:
        fresh = [job_id for job_id in admissible(session, PROMOTED_AT_ONCE) if job_id not in seen]
        if not fresh:
            return
        for job_id in fresh:
            _admit_or_fail(session, job_id, store, now)
        seen.update(fresh)


def _admit_or_fail(session: Session, job_id: int, store: ArtifactStore, now: datetime) -> None:
    """Admit one job; a stored request that this version cannot read any more must not stop all others."""
    try:
        admit(session, job_id, store, now=now)
    except ValidationError as trouble:
        reason = f"its stored request is not valid any more: {trouble.errors()[0]['msg']}; submit it anew"
        failure = Failure(kind=FailureKind.BAD_SPEC, reason=reason)
        lifecycle.fail_unstarted(session, job_id, start=JobState.WAITING, failure=failure, now=now)


def place_queued(session: Session, *, now: datetime, lease: timedelta, lost_after: timedelta) -> list[Bell]:
    """Assign queued jobs to free slots; returns their bells, to be rung after the commit."""
    free = _free_slots(session, now - lost_after)
    candidates = list(_candidates(session, free)) if free else []
    assigned = [
        lifecycle.assign(session, placement.job_id, placement.slot_id, now=now, lease=lease)
        for placement in place(candidates, free)
    ]
    return bells(session, [attempt_id for attempt_id in assigned if attempt_id is not None])


def _placeable(session: Session, alive_since: datetime) -> bool:
    queued = _queued_classes(session)
    return bool(queued) and bool(classes_with_a_slot(queued, _free_slots(session, alive_since)))


def _queued_classes(session: Session) -> list[str]:
    return list(session.scalars(_QUEUED_CLASSES))


def _free_slots(session: Session, alive_since: datetime) -> list[FreeSlot]:
    rows = session.execute(_FREE_SLOTS, {"alive_since": alive_since})
    return [FreeSlot(slot_id, SlotName.parse(name)) for slot_id, name in rows]


def _candidates(session: Session, free: list[FreeSlot]) -> Iterable[Candidate]:
    """The head of each class that has a free slot: no more jobs of a class can be placed than slots are free."""
    found: list[Candidate] = []
    for key in classes_with_a_slot(_queued_classes(session), free):
        head = session.execute(_HEAD_OF_CLASS, {"key": key, "most": len(free)})
        found += [Candidate(job_id, Demand.parse(key), priority, rank=rank) for job_id, priority, rank in head]
    failed_on = _failed_slots(session, [job.job_id for job in found])
    return [replace(job, avoid=frozenset(failed_on[job.job_id])) for job in found]


def _failed_slots(session: Session, job_ids: list[int]) -> dict[int, set[str]]:
    slots: dict[int, set[str]] = defaultdict(set)
    for job_id, slot_id in session.execute(_FAILED_SLOTS, {"jobs": job_ids}):
        slots[job_id].add(slot_id)
    return slots
