"""Every transition of the state machine, as one function each; the only writer of `job.state` and `attempt.state`.

Each transition is one UPDATE guarded by the previous state, with its events in the same transaction. A guard that
matches no row means that another process changed the state first. Rows are locked in one order (job, attempt, lease,
slot), so that two transitions of one job never deadlock. `now` is always the database's clock (`Database.now`), read in
the caller's transaction, so that leases mean the same on every host.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from orchestrator.errors import IllegalTransition, NotFound, OwnershipLost
from orchestrator.jobs import leases, line, retries, shares, statements
from orchestrator.jobs.ownership import Owner, Requests, note_misrouted, requests_of
from orchestrator.model.failures import Await, Failure, FailureKind, GiveUp, Retry, Suspicion
from orchestrator.model.orders import OrderToEnd, order_to_end, ordered_by, standing_order
from orchestrator.model.states import ATTEMPT_TRANSITIONS, FINAL, TRANSITIONS, AttemptState, JobState, ServiceState
from orchestrator.storage import live_logs
from orchestrator.storage.database import run, run_for
from orchestrator.storage.events import record
from orchestrator.storage.tables import Attempt, Document, Job

REVOKED_BY = "celery revoke"
"""Recorded as the user of a cancel that came through Celery without a name (`celery control revoke`)."""


def move(session: Session, job_id: int, *, start: JobState, to: JobState, now: datetime, **change: Any) -> bool:
    """Perform one transition of a job; False if the job is no longer in `start`. Columns in `change` are written with
    it."""
    if to not in TRANSITIONS[start]:
        raise IllegalTransition(f"a job never goes from {start} to {to}", job=job_id)
    if to in FINAL:
        change = {"ended_at": now, "held": False, "hold": None, **change}
    about = {name: change.pop(name) for name in ("attempt_id", "slot_id", "by", "why", "nearest") if name in change}
    if run(session, statements.MOVE_JOB, moved=job_id, start=start, state=to, **change).rowcount == 0:
        return False
    failure = change.get("failure")
    record(session, f"job.{to}", now, job_id=job_id, **about, start=start, **({"failure": failure} if failure else {}))
    return True


def _move_attempt(
    session: Session, attempt_id: int, *, start: AttemptState, to: AttemptState, owner: Owner | None = None,
    **change: Any,
) -> bool:  # fmt: skip
    """Perform one transition of an attempt; with an `owner` only if it owns the attempt, or may claim it on its
    slot."""
    if to not in ATTEMPT_TRANSITIONS[start]:
        raise IllegalTransition(f"an attempt never goes from {start} to {to}", attempt=attempt_id)
    if to is AttemptState.LOST:
        change["log_bytes"] = live_logs.size(session, attempt_id)
    moving, fence = statements.MOVE_ATTEMPT, {}
    if owner is not None:
        claims = start is AttemptState.ASSIGNED
        moving = statements.CLAIM_ATTEMPT if claims else statements.MOVE_OWN_ATTEMPT
        fence = {"lead": owner.slot_id} if claims else owner.fence
    return run(session, moving, moved=attempt_id, start=start, state=to, **fence, **change).rowcount == 1


def queue(session: Session, job: Job, *, start: JobState, now: datetime, **about: Any) -> bool:
    """Put a job into the queue, where it may stay until its queue deadline; False if it left `start` meanwhile."""
    deadline = None if job.queue_seconds is None else now + timedelta(seconds=job.queue_seconds)
    line.forget(session, now=now)  # it is older than jobs in line
    return move(
        session, job.id, start=start, to=JobState.QUEUED, now=now, queued_at=now, queue_deadline_at=deadline, **about
    )


# ── the dispatcher's transitions ──────────────────────────────────────────────────────────────────────────────────────


def lose(session: Session, attempt_id: int, *, now: datetime, why: str, max_attempts: int) -> bool:
    """Take a live attempt from a worker that has died; its job is queued again, or fails after `max_attempts` faults.

    An attempt that was never claimed has not been tried, so it does not count as a fault. False if it already ended.
    """
    job = _job(session, _attempt(session, attempt_id).job_id, lock=True)
    attempt = _attempt(session, attempt_id)
    if attempt.state not in (AttemptState.ASSIGNED, AttemptState.RUNNING):
        return False
    failure = Failure(kind=FailureKind.FAULT, reason=why)
    claimed = attempt.state is AttemptState.RUNNING
    told = failure.model_dump(mode="json")
    if not _move_attempt(session, attempt_id, start=attempt.state, to=AttemptState.LOST, ended_at=now, failure=told):
        return False
    _release(session, attempt, now)
    record(session, "attempt.lost", now, job_id=attempt.job_id, attempt_id=attempt_id, slot_id=attempt.slot_id, why=why)
    if claimed:
        _follow(session, job, attempt_id, failure, now, max_attempts)
    else:
        queue(session, job, start=JobState.ASSIGNED, now=now, why=why)
    _charge(session, attempt, now)
    return True


def withdraw(session: Session, attempt_id: int, *, now: datetime, why: str) -> bool:
    """Withdraw an attempt that no worker has claimed, and queue its job again; False if it was claimed or has ended."""
    _job(session, _attempt(session, attempt_id).job_id, lock=True)
    if _attempt(session, attempt_id).state is not AttemptState.ASSIGNED:
        return False
    return lose(session, attempt_id, now=now, why=why, max_attempts=0)


def fail_unstarted(session: Session, job_id: int, *, start: JobState, failure: Failure, now: datetime) -> bool:
    """End a job that cannot be started, or missed its deadline; False if it left `start` meanwhile."""
    if start not in (JobState.WAITING, JobState.QUEUED):
        raise IllegalTransition("a job with a live attempt ends through its attempt", job=job_id)
    return move(session, job_id, start=start, to=JobState.FAILED, now=now, failure=failure.model_dump(mode="json"))


# ── the worker's transitions ──────────────────────────────────────────────────────────────────────────────────────────


def claim(session: Session, attempt_id: int, *, owner: Owner, now: datetime, lease: timedelta) -> bool:
    """Make an assigned attempt this worker's; False if it cannot be claimed (late or duplicated doorbell, or
    cancelled).

    A doorbell decides nothing: one for an attempt whose lead slot is another one is counted, and dropped.
    """
    wanted = run(session, statements.TO_CLAIM, wanted=attempt_id).first()
    if wanted is None:
        return False
    if wanted.slot_id != owner.slot_id:
        note_misrouted(session, attempt_id, wanted.job_id, leased_to=wanted.slot_id, owner=owner, now=now)
        return False
    mine: dict[str, Any] = {"owner": owner, "worker": owner.worker, "started_at": now}
    if not _move_attempt(session, attempt_id, start=AttemptState.ASSIGNED, to=AttemptState.RUNNING, **mine):
        return False
    if not move(
        session, wanted.job_id, start=JobState.ASSIGNED, to=JobState.RUNNING, now=now,
        started_at=wanted.started_at or now, attempt_id=attempt_id, slot_id=wanted.slot_id,
    ):  # fmt: skip
        raise IllegalTransition("an assigned attempt belongs to an assigned job", attempt=attempt_id)
    leases.extend(session, attempt_id, until=now + lease)
    return True


def renew(session: Session, attempt_id: int, *, owner: Owner, now: datetime, lease: timedelta) -> Requests:
    """Extend the leases for another `lease`; OwnershipLost if the attempt no longer belongs to this worker."""
    requests = requests_of(session, attempt_id, owner=owner, lock=True)
    if not leases.extend(session, attempt_id, until=now + lease):
        raise OwnershipLost("this worker no longer owns the attempt", attempt=attempt_id)
    return requests


@dataclass(frozen=True)
class Started:
    """The vendor process of an attempt, and its argv, environment and working folder of the process."""

    pid: int
    command: dict[str, Any]


def note_start(session: Session, attempt_id: int, started: Started, *, owner: Owner, now: datetime) -> None:
    """Store what was started; OwnershipLost if the attempt no longer belongs to this worker."""
    ran = {"pid": started.pid, "command": started.command}
    attempt = run(session, statements.NOTE_START, running=attempt_id, **owner.fence, **ran).one_or_none()
    if attempt is None:
        raise OwnershipLost("this worker no longer owns the attempt", attempt=attempt_id)
    about = {"job_id": attempt.job_id, "attempt_id": attempt_id, "slot_id": attempt.slot_id}
    record(session, "attempt.started", now, **about, pid=started.pid)


def give_back(
    session: Session, attempt_id: int, *, owner: Owner, now: datetime, why: str, suspicion: Suspicion | None = None
) -> bool:
    """Return a running job to the queue because its worker cannot continue it; this is not a fault of the job.

    False if the attempt is no longer running, or does not belong to this worker.
    """
    job = _job(session, _attempt(session, attempt_id).job_id, lock=True)
    attempt = _attempt(session, attempt_id)
    failure = Failure(kind=FailureKind.STOPPED, reason=why).model_dump(mode="json")
    if not _move_attempt(
        session, attempt_id, start=AttemptState.RUNNING, to=AttemptState.LOST, owner=owner, ended_at=now,
        failure=failure, suspicion=_as_document(suspicion),
    ):  # fmt: skip
        return False
    _release(session, attempt, now, suspicion)
    record(session, "attempt.lost", now, job_id=job.id, attempt_id=attempt_id, slot_id=attempt.slot_id, why=why)
    if (asked := standing_order(job.cancel, job.stop)) is not None:
        moved = _end_cancelled(session, job.id, JobState.RUNNING, now, asked)
    else:
        moved = queue(session, job, start=JobState.RUNNING, now=now, why=why)
    _charge(session, attempt, now)
    return moved


@dataclass(frozen=True)
class Ending:
    """How an attempt ended, as its worker saw it. `failure` None means success; a `suspicion` quarantines slots.

    `started` is a process that ended before its start was recorded; equal answers have equal `answers_digest`;
    `revoked_by` is who revoked it through Celery, if the revoke had a name."""

    failure: Failure | None
    seconds: float | None
    log_digest: str | None
    log_bytes: int
    suspicion: Suspicion | None = None
    started: Started | None = None
    answers_digest: str | None = None
    revoked_by: str | None = None
    telemetry: Document | None = None
    """What its cards measured while it ran (`orchestrator.model.telemetry`)."""


def finish(
    session: Session, attempt_id: int, ending: Ending, *, owner: Owner, now: datetime, max_attempts: int,
    store_results: Callable[[], None] | None = None,
) -> JobState:  # fmt: skip
    """Store how the attempt ended, release its slots and change the state of its job, in one transaction;
    `store_results` writes its other results, and is called only after it is certain that the attempt belongs to the
    worker.

    Returns the job's new state. OwnershipLost if the attempt no longer belongs to this worker: then nothing may be
    written, and the caller's transaction, with any results in it, must be rolled back (letting the error through does).
    """
    attempt = run(session, statements.TO_END, wanted=attempt_id).one_or_none()
    if attempt is None:
        raise NotFound(f"there is no attempt {attempt_id}", attempt=attempt_id)
    failure, job_id = ending.failure, attempt.job_id
    asked = standing_order(attempt.cancel, attempt.stop, stopped="stopped before it was ready")
    asked = asked or order_to_end(ending.revoked_by or REVOKED_BY, None, now)
    if failure is not None and failure.kind is FailureKind.CANCELLED:
        failure = failure.model_copy(update={"reason": _cancelled(asked).reason})
    begun = {} if ending.started is None else {"pid": ending.started.pid, "command": ending.started.command}
    to = AttemptState.SUCCEEDED
    if failure is not None:
        to = AttemptState.CANCELLED if failure.kind is FailureKind.CANCELLED else AttemptState.FAILED
    if not _move_attempt(
        session, attempt_id, start=AttemptState.RUNNING, to=to, owner=owner, ended_at=now,
        failure=_as_document(failure), suspicion=_as_document(ending.suspicion),
        seconds=ending.seconds, log_digest=ending.log_digest, log_bytes=ending.log_bytes,
        answers_digest=ending.answers_digest, telemetry=ending.telemetry, **begun,
    ):  # fmt: skip
        raise OwnershipLost("this worker no longer owns the attempt", attempt=attempt_id)
    about = {"job_id": job_id, "attempt_id": attempt_id, "slot_id": attempt.slot_id}
    if ending.started is not None:
        record(session, "attempt.started", now, **about, pid=ending.started.pid)
    _release(session, attempt, now, ending.suspicion)
    record(session, f"attempt.{to}", now, **about)
    if failure is None:
        stopped = {} if attempt.stop is None else {name: attempt.stop[name] for name in ("by", "why")}
        done = {"attempt_id": attempt_id, "failure": None, **stopped}
        move(session, job_id, start=JobState.RUNNING, to=JobState.SUCCEEDED, now=now, **done)
    elif failure.kind is FailureKind.CANCELLED:
        _end_cancelled(session, job_id, JobState.RUNNING, now, asked, failure)
    else:
        _follow(session, _job(session, job_id, lock=True), attempt_id, failure, now, max_attempts)
    reached = select(Job.state).where(Job.id == job_id)
    state = JobState.SUCCEEDED if failure is None else session.execute(reached).scalar_one()
    if store_results is not None:
        store_results()
    _charge(session, attempt, now)
    return state


# ── transitions for any caller ────────────────────────────────────────────────────────────────────────────────────────


def cancel(session: Session, job_id: int, *, by: str | None, why: str | None = None, now: datetime) -> JobState:
    """Stop a job: at once if nothing of it runs, otherwise as soon as its worker has killed the process tree.

    Who ordered it (None: the dispatcher) and why are kept on the job, in its events and in its failure's reason; the
    first order counts. Returns its present state. IllegalTransition if it had already ended in another state.
    """
    asked = order_to_end(by, why, now)
    for _ in range(2):
        job = _job(session, job_id, lock=True)
        match job.state:
            case JobState.CANCELLED:
                return job.state
            case state if state in FINAL:
                raise IllegalTransition(f"job {job_id} has already {state}", job=job_id, state=state)
            case JobState.RUNNING:
                if not job.cancel_requested:
                    requested = {"cancel_requested": True, "cancel": asked, "version": Job.version + 1}
                    session.execute(update(Job).where(Job.id == job_id).values(requested))
                    record(session, "job.cancel_requested", now, job_id=job_id, by=by, why=why)
                return job.state
            case JobState.ASSIGNED:
                live = select(Attempt).where(Attempt.job_id == job_id, Attempt.state == AttemptState.ASSIGNED)
                attempt = session.scalars(live).one()
                taken = _move_attempt(
                    session, attempt.id, start=AttemptState.ASSIGNED, to=AttemptState.CANCELLED, ended_at=now
                )
                if taken:
                    _release(session, attempt, now)
                    about = {"job_id": job_id, "attempt_id": attempt.id, "slot_id": attempt.slot_id}
                    record(session, "attempt.cancelled", now, **about, by=by, why=why)
        if _end_cancelled(session, job_id, job.state, now, asked):
            return JobState.CANCELLED
    raise IllegalTransition(f"job {job_id} is changing state; try again", job=job_id)


def stop(session: Session, job_id: int, *, by: str | None, why: str | None = None, now: datetime) -> JobState:
    """Request that a server stops gracefully, which is its success; one that has not started, or is between two
    attempts, is cancelled.

    Returns its present state. IllegalTransition for a job that is not a server, or that has ended in another state.
    """
    job = _job(session, job_id, lock=True)
    if job.kind != "serve":
        raise IllegalTransition(f"job {job_id} is {job.kind}, not a server: use cancel", job=job_id)
    if job.state not in FINAL | {JobState.RUNNING}:
        return cancel(session, job_id, by=by, why=ordered_by("stopped before it was ready", None, why), now=now)
    if job.state is JobState.RUNNING and job.stop is None:
        asked = order_to_end(by, why, now)
        session.execute(update(Job).where(Job.id == job_id).values(stop=asked, version=Job.version + 1))
        record(session, "job.stop_requested", now, job_id=job_id, by=by, why=why)
    elif job.state in FINAL - {JobState.SUCCEEDED}:
        raise IllegalTransition(f"job {job_id} has already {job.state}", job=job_id, state=job.state)
    return job.state


# ── shared steps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _job(session: Session, job_id: int, *, lock: bool = False) -> Job:
    # FOR NO KEY UPDATE: rows that only reference the job may be written meanwhile.
    locking = {"key_share": True} if lock else None
    job = session.get(Job, job_id, populate_existing=True, with_for_update=locking)
    if job is None:
        raise NotFound(f"there is no job {job_id}", job=job_id)
    return job


def _attempt(session: Session, attempt_id: int) -> Attempt:
    attempt = session.get(Attempt, attempt_id, populate_existing=True)
    if attempt is None:
        raise NotFound(f"there is no attempt {attempt_id}", attempt=attempt_id)
    return attempt


def _release(session: Session, attempt: Attempt | Row[Any], now: datetime, suspicion: Suspicion | None = None) -> None:
    """Release all slots: draining slots become drained, and slots under `suspicion` are quarantined."""
    for slot_id, state in leases.let_go(session, attempt, now=now, suspicion=suspicion):
        because = suspicion.model_dump(mode="json") if suspicion and state is ServiceState.QUARANTINED else {}
        record(session, f"slot.{state}", now, job_id=attempt.job_id, attempt_id=attempt.id, slot_id=slot_id, **because)


def _charge(session: Session, attempt: Attempt | Row[Any], now: datetime) -> None:
    """Add the attempt's slot time to its project. This is the last step: every other end of a job of that project waits
    for it."""
    if attempt.started_at is not None:
        seconds = (now - attempt.started_at).total_seconds() * len(attempt.slot_ids)
        shares.charge(session, attempt.job_id, seconds, now=now)


def _as_document(fact: Failure | Suspicion | None) -> dict[str, Any] | None:
    return None if fact is None else fact.model_dump(mode="json")


def _cancelled(asked: OrderToEnd) -> Failure:
    return Failure(kind=FailureKind.CANCELLED, reason=ordered_by("cancelled", asked["by"], asked["why"]))


def _end_cancelled(
    session: Session, job_id: int, start: JobState, now: datetime, asked: OrderToEnd, failure: Failure | None = None
) -> bool:
    told = _as_document(failure or _cancelled(asked))
    return move(
        session, job_id, start=start, to=JobState.CANCELLED, now=now, cancel=asked, failure=told,
        by=asked["by"], why=asked["why"],
    )  # fmt: skip


def _follow(session: Session, job: Job, attempt_id: int, failure: Failure, now: datetime, max_attempts: int) -> None:
    """Queue a running job again or end it, as `orchestrator.jobs.retries` decides."""
    failure, step = retries.after(session, job, failure, max_attempts)
    stopped_anyway = isinstance(step, Retry | Await) or failure.kind in (FailureKind.FAULT, FailureKind.DEVICE_KILLS)
    asked = standing_order(job.cancel, job.stop)
    match step:
        case _ if asked is not None and stopped_anyway:
            _end_cancelled(session, job.id, JobState.RUNNING, now, asked)
        case Retry(why, pause) if pause:
            move(session, job.id, start=JobState.RUNNING, to=JobState.WAITING, now=now, why=why, not_before=now + pause)
        case Retry(why):
            queue(session, job, start=JobState.RUNNING, now=now, why=why)
        case Await(why):
            move(session, job.id, start=JobState.RUNNING, to=JobState.WAITING, now=now, why=why)
        case GiveUp():
            told = failure.model_dump(mode="json")
            move(
                session, job.id, start=JobState.RUNNING, to=JobState.FAILED, now=now, attempt_id=attempt_id,
                failure=told,
            )  # fmt: skip


def add_outputs(session: Session, attempt_id: int, outputs: Iterable[Mapping[str, Any]], *, now: datetime) -> None:
    """Name stored artifacts (name, digest, tree, file_name and size of each) as outputs of this attempt."""
    made = {"maker": attempt_id, "attempt_id": attempt_id, "created_at": now}
    run_for(session, statements.ADD_OUTPUT, [{**output, **made} for output in outputs])
