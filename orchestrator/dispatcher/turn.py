"""One turn: promote waiting jobs whose needs are met, place queued ones, commit; the caller rings after the commit."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from pydantic import ValidationError
from sqlalchemy import update
from sqlalchemy.orm import Session

from orchestrator import lifecycle, lineup, shares
from orchestrator.admission import admissible, admit
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import JobState
from orchestrator.placement.place import place
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Job, Slot

AGING: timedelta = Settings.model_fields["aging"].default

PROMOTED_AT_ONCE = 100
"""Jobs admitted in one transaction: some tenths of a second."""


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


def take_turn(
    database: Database, store: ArtifactStore, *, lease: timedelta, lost_after: timedelta, aging: timedelta = AGING
) -> list[Bell]:
    """Promote and place until nothing more can move; returns the bells to ring now that all is committed."""
    with database.read() as session:
        now = database.now(session)
        idle = not admissible(session, limit=1) and not lineup.placeable(session, now - lost_after)
    if idle:
        return []
    with database.write() as session:
        database.serialise(session, "admission")
        now = database.now(session)
        promote(session, store, now=now)
        return place_queued(session, now=now, lease=lease, lost_after=lost_after, aging=aging)


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


def place_queued(
    session: Session, *, now: datetime, lease: timedelta, lost_after: timedelta, aging: timedelta = AGING
) -> list[Bell]:
    """Assign queued jobs to free slots; returns their bells, to be rung after the commit."""
    free = lineup.free_slots(session, now - lost_after)
    if not free:
        return []
    queued = list(lineup.heads(session, lineup.groups(session), free))
    candidates = lineup.candidates(session, queued, now=now, aging=aging)
    kcores = {candidate.job_id: candidate.kcore for candidate in candidates}
    bells = []
    for placement in place(candidates, free, shares.all_shares(session, now)):
        attempt = lifecycle.assign(
            session, placement.job_id, placement.slot_id, now=now, lease=lease, why=placement.why
        )
        if attempt is not None:
            attempt.rung_at = now
            _note_kcore(session, placement.slot_id, kcores[placement.job_id])
            bells.append(bell(attempt, session.get_one(Job, placement.job_id)))
    return bells


def _note_kcore(session: Session, slot_id: str, kcore: str | None) -> None:
    if kcore is not None:
        session.execute(update(Slot).where(Slot.id == slot_id, Slot.kcore.is_distinct_from(kcore)).values(kcore=kcore))
