"""Repairs that depend on time: lost doorbells, workers that receive none, expired leases, jobs that waited too long,
unused servers, reservations that begin or end. Each returns the items it processed, for `chores.py`.
"""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta

from sqlalchemy import or_, select

from orchestrator.broker import Bell
from orchestrator.dispatcher.turn import bells
from orchestrator.errors import IllegalTransition
from orchestrator.jobs import lifecycle, server_stops
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import AttemptState, JobState
from orchestrator.slots import presence, reservations
from orchestrator.storage import events
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Job, Lease


def ring_again(database: Database, *, after: timedelta) -> list[Bell]:
    """Doorbells for attempts that no worker claimed within `after`; a worker that receives one twice drops the
    second."""
    with database.read() as session:
        now = database.now(session)
        unheard = select(Attempt.id).where(Attempt.state == AttemptState.ASSIGNED, Attempt.rung_at < now - after)
        if session.scalars(unheard.limit(1)).first() is None:
            return []
    with database.write() as session:
        now = database.now(session)
        attempts = session.scalars(select(Attempt).where(Attempt.id.in_(unheard))).all()
        for attempt in attempts:
            attempt.rung_at = now
            events.record(
                session,
                "attempt.rung_again",
                now,
                job_id=attempt.job_id,
                attempt_id=attempt.id,
                slot_id=attempt.slot_id,
            )
        return bells(session, [attempt.id for attempt in attempts])


def unclaimed(database: Database) -> list[int]:
    """The attempts that are not claimed yet."""
    with database.read() as session:
        return list(session.scalars(select(Attempt.id).where(Attempt.state == AttemptState.ASSIGNED)))


def note_deaf(database: Database, attempt_ids: Sequence[int], *, lost_after: timedelta) -> int:
    """Disable the slots whose workers send heartbeats but did not receive the doorbells of these attempts; their
    number."""
    deaf = 0
    for attempt_id in attempt_ids:
        with database.admission() as (session, now):
            deaf += presence.deafen(session, attempt_id, now=now, lost_after=lost_after)
    return deaf


def end_expired_leases(database: Database, *, max_attempts: int) -> int:
    """Take attempts away from workers that did not renew their leases; returns their number."""
    with database.read() as session:
        expired = select(Lease.attempt_id).where(Lease.expires_at < database.now(session)).distinct()
        attempts = list(session.scalars(expired))
    lost = 0
    for attempt_id in attempts:
        with database.write() as session:
            now = database.now(session)
            still = select(Lease.slot_id).where(Lease.attempt_id == attempt_id, Lease.expires_at < now)
            if session.scalars(still).first() is not None:
                lost += lifecycle.lose(
                    session,
                    attempt_id,
                    now=now,
                    why="no heartbeat from its worker; the lease expired",
                    max_attempts=max_attempts,
                )
    return lost


def fail_overdue(database: Database) -> int:
    """Fail jobs that were not placed by their queue deadline or not finished by their total deadline; their number."""
    with database.read() as session:
        now = database.now(session)
        late_in_queue = (Job.state == JobState.QUEUED) & ~Job.held & (Job.queue_deadline_at < now)
        late_in_all = Job.state.in_((JobState.WAITING, JobState.QUEUED)) & (Job.deadline_at < now)
        overdue = list(
            session.execute(select(Job.id, Job.state, Job.deadline_at).where(or_(late_in_queue, late_in_all)))
        )
    failed = 0
    for job_id, state, deadline in overdue:
        in_all = deadline is not None and deadline < now
        failure = Failure(
            kind=FailureKind.TOTAL_DEADLINE if in_all else FailureKind.QUEUE_DEADLINE,
            reason="its total deadline passed before it started"
            if in_all
            else "its queue deadline passed before a slot was free",
        )
        with database.write() as session:
            failed += lifecycle.fail_unstarted(session, job_id, start=state, failure=failure, now=database.now(session))
    return failed


def stop_servers(database: Database) -> int:
    """Stop servers that are idle, have reached their maximum lifetime, or whose clients have ended; returns their
    number."""
    with database.read() as session:
        due = server_stops.to_stop(session, database.now(session))
    for job_id, why in due:
        with suppress(IllegalTransition), database.write() as session:
            lifecycle.stop(session, job_id, by=None, why=why, now=database.now(session))
    return len(due)


def note_reservations(database: Database) -> int:
    """Record reservations that have begun or ended, and withdraw attempts that have not started on their slots; their
    number."""
    with database.read() as session:
        due = reservations.passages(session, database.now(session))
    if due:
        with database.admission() as (session, now):
            reservations.note_passages(session, now)
    return len(due)
