"""What the dispatcher does with batches in each turn: stop, skip, end; and abandon those that were never sealed.

A batch is stopped by the next turn after the fault, not by the transaction in which the attempt ended: only turns
place, and a turn advances batches before it places, so no job of a stopped batch starts in either case. And many jobs
are ended without lock conflicts with the workers that report.
"""

from collections import Counter
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import CursorResult, ScalarSelect, Select, and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from orchestrator.jobs import bulk, lifecycle
from orchestrator.model.batches import BatchState, StopOn, Trouble, batch_state, stopping
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.states import FINAL, AttemptState, JobState
from orchestrator.storage import events
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Batch, IdempotencyRecord, Job

GIVEN_UP_AFTER = timedelta(seconds=60)
"""Time without a new portion after which a batch is abandoned: its writer has died, or will find it abandoned."""

_UNBEGUN = (JobState.WAITING, JobState.QUEUED, JobState.ASSIGNED)
_UNFINISHED = tuple(state for state in JobState if state not in FINAL)

_OPEN = (Batch.ended_at.is_(None), Batch.sealed_at.is_(None))


def _due() -> Select[int]:
    of_batch = Job.batch_id == Batch.id
    sticky = Attempt.suspicion["signature"].as_string().is_not(None)
    # From the few attempts that left a suspicion to their jobs, never from the many jobs to their attempts.
    owner = select(Job.batch_id).where(Job.id == Attempt.job_id).scalar_subquery()
    troubled = or_(
        exists().where(Attempt.suspicion.is_not(None), sticky, owner == Batch.id),
        and_(Batch.stop_on == StopOn.FAILURE, exists().where(of_batch, Job.state == JobState.FAILED)),
    )
    to_stop = and_(Batch.stop.is_(None), Batch.stop_on != StopOn.NEVER, troubled)
    to_skip = and_(Batch.stop.is_not(None), exists().where(of_batch, Job.state.in_(_UNBEGUN)))
    to_end = ~exists().where(of_batch, Job.state.in_(_UNFINISHED))
    live = (Batch.ended_at.is_(None), Batch.sealed_at.is_not(None))
    return select(Batch.id).where(*live, or_(to_stop, to_skip, to_end)).order_by(Batch.id)


_DUE = _due()
"""Built once: it runs in every turn. Live batches are few, and each costs some look-ups in an index."""


def due(session: Session) -> list[int]:
    """Batches that may have to be stopped, skipped or ended now."""
    return list(session.scalars(_DUE))


def advance(session: Session, *, now: datetime) -> None:
    """Stop batches whose stop condition has occurred, end their jobs that have not started, and end batches without
    live jobs."""
    for batch_id in due(session):
        batch = session.get_one(Batch, batch_id, populate_existing=True)
        if batch.stop is None:
            _stop(session, batch, now)
        if batch.stop is not None:
            _end_unbegun(session, batch, now)
        counts = _counts(session, batch.id)
        if not any(counts[state] for state in _UNFINISHED):
            _end(session, batch, counts, now)


def give_up_stale(database: Database) -> int:
    """Abandon batches that were left open; returns their number."""
    with database.read() as session:
        silent = Batch.touched_at < database.now(session) - GIVEN_UP_AFTER
        stale = session.scalars(select(Batch.id).where(*_OPEN, silent)).all()
    return sum(give_up(database, batch_id, silent_for=GIVEN_UP_AFTER) for batch_id in stale)


def give_up(database: Database, batch_id: int, *, silent_for: timedelta | None = None) -> bool:
    """Cancel the jobs written for a batch that will not be sealed; False if it is sealed or ended already.

    Its idempotency key is free again: the client, which got no answer, may submit once more.
    """
    with database.admission() as (session, now):
        why = "the submission of its batch was interrupted, so it is incomplete; submit it again"
        left = update(Batch).where(Batch.id == batch_id, *_OPEN)
        if silent_for is not None:
            left = left.where(Batch.touched_at < now - silent_for)
        stop = {"reason": why, "at": now.isoformat()}
        if cast("CursorResult[Any]", session.execute(left.values(ended_at=now, stop=stop))).rowcount == 0:
            return False
        session.execute(delete(IdempotencyRecord).where(IdempotencyRecord.made["batch"].as_integer() == batch_id))
        failure = Failure(kind=FailureKind.CANCELLED, reason=why)
        bulk.end_unbegun(session, batch_id, to=JobState.CANCELLED, failure=failure, now=now)
        events.record(session, "batch.ended", now, batch=batch_id, state=BatchState.CANCELLED, why=why)
        return True


# ── stopping ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _stop(session: Session, batch: Batch, now: datetime) -> None:
    cause = stopping(batch.stop_on, _troubles(session, batch.id))
    if cause is None:
        return
    batch.stop = {
        "reason": cause.sentence(), "job_id": cause.job_id, "slot_id": cause.slot_id, "signature": cause.signature,
        "at": now.isoformat(),
    }  # fmt: skip
    session.flush()
    events.record(
        session, "batch.stopped", now, batch=batch.id, job_id=cause.job_id, slot_id=cause.slot_id, why=cause.sentence()
    )


def _troubles(session: Session, batch_id: int) -> list[Trouble]:
    """The events that may stop a batch, in the order in which they happened."""
    suspicions = (
        select(Attempt.ended_at, Job.id, Job.name, Attempt.slot_id, Attempt.suspicion)
        .join(Job, Job.id == Attempt.job_id)
        .where(Job.batch_id == batch_id, Attempt.suspicion.is_not(None))
    )
    found = []
    for ended_at, job_id, name, slot_id, told in session.execute(suspicions):
        suspicion = Suspicion.model_validate(told)
        if suspicion.signature is not None:
            trouble = Trouble(job_id, name, suspicion.reason, True, slot_id, suspicion.signature)
            found.append((ended_at, 0, job_id, trouble))
    failed = (
        select(Job.ended_at, Job.id, Job.name, Job.failure, last_slot())
        .where(Job.batch_id == batch_id, Job.state == JobState.FAILED)
        .order_by(Job.ended_at, Job.id)
        .limit(1)
    )
    for ended_at, job_id, name, told, slot_id in session.execute(failed):
        failure = Failure.model_validate(told)
        found.append((ended_at, 1, job_id, Trouble(job_id, name, failure.reason, False, slot_id, failure.signature)))
    return [trouble for *_, trouble in sorted(found, key=lambda each: each[:3])]


def last_slot() -> ScalarSelect[str]:
    """Of a job in an enclosing SELECT: the slot of its latest attempt."""
    return (
        select(Attempt.slot_id)
        .where(Attempt.job_id == Job.id)
        .order_by(Attempt.number.desc())
        .limit(1)
        .scalar_subquery()
    )


def _end_unbegun(session: Session, batch: Batch, now: datetime) -> None:
    """Skip jobs that have not started. A started job that would be retried ends with its failure, or is cancelled if
    only its worker was stopped."""
    assert batch.stop is not None
    stopped = f"batch {batch.id} was stopped"
    assigned = select(Attempt.id).join(Job, Job.id == Attempt.job_id)
    for attempt_id in session.scalars(
        assigned.where(Job.batch_id == batch.id, Job.state == JobState.ASSIGNED, Attempt.state == AttemptState.ASSIGNED)
    ).all():
        lifecycle.withdraw(session, attempt_id, now=now, why=stopped)
    for job_id, failure in _last_failures(session, batch.id).items():
        if failure.kind is FailureKind.STOPPED:
            lifecycle.cancel(session, job_id, by=None, why=f"its worker was stopped, and then {stopped}", now=now)
            continue
        told = failure.model_copy(update={"reason": f"{failure.reason} (not retried: {stopped})"})
        lifecycle.fail_unstarted(session, job_id, start=JobState.QUEUED, failure=told, now=now)
    skipped = Failure(kind=FailureKind.CANCELLED, reason=f"{stopped} by {batch.stop['reason']}")
    bulk.end_unbegun(session, batch.id, to=JobState.SKIPPED, failure=skipped, now=now)


def _last_failures(session: Session, batch_id: int) -> dict[int, Failure]:
    """How the latest claimed attempts of queued jobs ended."""
    ended = (
        select(Job.id, Attempt.failure)
        .join(Attempt, Attempt.job_id == Job.id)
        .where(Job.batch_id == batch_id, Job.state == JobState.QUEUED)
        .where(Attempt.failure.is_not(None), Attempt.worker.is_not(None))
        .order_by(Attempt.number)
    )
    return {job_id: Failure.model_validate(told) for job_id, told in session.execute(ended)}


# ── ending ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _end(session: Session, batch: Batch, counts: Counter[JobState], now: datetime) -> None:
    batch.ended_at = now
    session.flush()
    state = batch_state(counts, sealed=True, stopped=batch.stop is not None)
    told = {str(each): count for each, count in counts.items()}
    events.record(session, "batch.ended", now, batch=batch.id, state=state, counts=told)


def _counts(session: Session, batch_id: int) -> Counter[JobState]:
    counted = select(Job.state, func.count()).where(Job.batch_id == batch_id).group_by(Job.state)
    return Counter(dict(session.execute(counted).all()))
