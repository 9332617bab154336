"""One turn: promote waiting jobs whose needs are met, place queued ones, commit; the caller rings after the commit."""

from collections import defaultdict
from collections.abc import Iterable
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
from orchestrator.storage.tables import Attempt, Job, Lease, Slot

PROMOTED_AT_ONCE = 100
"""Jobs admitted in one transaction: some tenths of a second."""

# Built once: these are asked at every wake-up, and building them takes longer than running them.

_QUEUED_CLASSES = select(Job.demand).distinct().where(Job.state == JobState.QUEUED, ~Job.held)

_FREE_SLOTS = (
    select(Slot.id, Slot.name)
    .where(
        Slot.service_state == ServiceState.IN_SERVICE,
        Slot.heartbeat_at > bindparam("alive_since"),
        ~exists().where(Lease.slot_id == Slot.id),
    )
    .order_by(Slot.last_ended_at.asc().nulls_first(), Slot.id)
)
"""Slots in service, with a live worker and no lease; longest idle first, so that wear is shared."""

_HEAD_OF_CLASS = (
    select(Job.id, Job.priority, Job.rank)
    .where(Job.state == JobState.QUEUED, ~Job.held, Job.demand == bindparam("key"))
    .order_by(Job.priority.desc(), Job.rank, Job.id)
    .limit(bindparam("most", type_=Integer))
)


@dataclass(frozen=True)
class Bell:
    """A worker to wake: for which attempt, on which queue, and what Flower shows."""

    attempt_id: int
    task_id: str
    queue: str
    description: str


def bell(attempt: Attempt, job: Job) -> Bell:
    """The doorbell of an attempt. Its task id is new for every attempt: a revoked id is remembered by workers."""
    return Bell(
        attempt_id=attempt.id,
        task_id=f"{job.id}.{attempt.number}",
        queue=attempt.slot_id,
        description=f"job {job.id} ({job.name}): {job.kind} on {attempt.slot_id}, attempt {attempt.number}",
    )


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
    bells = []
    for placement in place(candidates, free):
        attempt = lifecycle.assign(session, placement.job_id, placement.slot_id, now=now, lease=lease)
        if attempt is not None:
            attempt.rung_at = now
            bells.append(bell(attempt, session.get_one(Job, placement.job_id)))
    return bells


def _placeable(session: Session, alive_since: datetime) -> bool:
    free = _free_slots(session, alive_since)
    return bool(free) and bool(classes_with_a_slot(_queued_classes(session), free))


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
    bad = (AttemptState.FAILED, AttemptState.LOST)
    rows = select(Attempt.job_id, Attempt.slot_id).where(Attempt.job_id.in_(job_ids), Attempt.state.in_(bad))
    slots: dict[int, set[str]] = defaultdict(set)
    for job_id, slot_id in session.execute(rows):
        slots[job_id].add(slot_id)
    return slots
