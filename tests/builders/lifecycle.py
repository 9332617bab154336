"""Jobs that walked here by the lifecycle's own arrows, and slots whose workers live."""

import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from builders.rows import a_release
from orchestrator.jobs import bulk, endpoints, lifecycle
from orchestrator.jobs.lifecycle import Ending
from orchestrator.jobs.ownership import Owner
from orchestrator.model.demand import Demand
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.slots import SlotName
from orchestrator.model.specs import JobRequest, slot_kind
from orchestrator.model.states import JobState, Until
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import (
    Attempt,
    Endpoint,
    Event,
    Job,
    JobNeed,
    Slot,
    Token,
)

LEASE = timedelta(seconds=60)
WORKER = "worker-a"
SUCCESS = Ending(failure=None, seconds=1.5, log_digest=None, log_bytes=0)
FAULT = Failure(kind=FailureKind.FAULT, reason="the card died")
TOOL = Failure(kind=FailureKind.TOOL, reason="exit code 1")
CANCELLED = Failure(kind=FailureKind.CANCELLED, reason="cancelled on request")

_numbers = itertools.count(1)


def ending(failure: Failure | None = None) -> Ending:
    return Ending(failure=failure, seconds=1.5, log_digest=None, log_bytes=0)


def now() -> datetime:
    return datetime.now(UTC)


def a_slot(session: Session, name: str = "g0", **facts: Any) -> Slot:
    host = facts.pop("host", "lab1")
    row = {"kind": SlotName.parse(name).kind, "worker": WORKER, "worker_pid": 1, "heartbeat_at": now()}
    slot = Slot(id=f"{host}.{name}", host=host, name=name, **{**row, **facts})
    session.add(slot)
    session.flush()
    return slot


def an_infer_request(**facts: Any) -> JobRequest:
    digest = f"sha256:{'c' * 64}"
    spec = {"kind": "infer", "model": "qwen", "kcore": {"digest": digest}, "prompts": {"digest": digest}}
    return JobRequest.model_validate({"spec": spec, **facts})


def a_serve_request(spec: dict[str, Any] | None = None, **facts: Any) -> JobRequest:
    served = {"kind": "serve", "model": "qwen", "kcore": {"digest": f"sha256:{'c' * 64}"}, **(spec or {})}
    return JobRequest.model_validate({"spec": served, **facts})


def a_server(session: Session, spec: dict[str, Any] | None = None, **facts: Any) -> Attempt:
    """A running attempt at a `serve` job that is not ready yet."""
    job = a_job(session, JobState.RUNNING, request=a_serve_request(spec), **facts)
    return session.scalars(select(Attempt).where(Attempt.job_id == job.id)).one()


def a_ready_server(
    session: Session, spec: dict[str, Any] | None = None, *, at: datetime | None = None, **facts: Any
) -> Endpoint:
    """The open endpoint of a server."""
    attempt = a_server(session, spec, **facts)
    told = {"url": "http://127.0.0.1:20000", "served_id": "/models/qwen"}
    return endpoints.announce(session, attempt.id, owner=owner_of(session, attempt.id), now=at or now(), **told)


def a_waiting_job(session: Session, request: JobRequest | None = None, **facts: Any) -> Job:
    request = request or an_infer_request()
    kind = slot_kind(request.spec)
    row = {
        "name": request.spec.kind, "kind": request.spec.kind, "project": "default",
        "spec": request.spec.model_dump(mode="json"), "request": request.model_dump(mode="json"),
        "release": a_release(session).name, "slot_kind": kind, "demand": Demand(kind).key(),
        "priority": request.priority, "run_seconds": 60, "silence_seconds": 60, "log_bytes": 1 << 20,
        "tool_retries": request.tool_retries,
    }  # fmt: skip
    (job_id,) = bulk.create(session, [{**row, **facts}], now=now())
    return session.get_one(Job, job_id)


def a_job(session: Session, state: JobState = JobState.QUEUED, **facts: Any) -> Job:
    """A job that walked to `state` on a slot of its own."""
    job = a_waiting_job(session, **facts)
    match state:
        case JobState.WAITING:
            pass
        case JobState.SKIPPED:
            lifecycle.move(session, job.id, start=JobState.WAITING, to=JobState.SKIPPED, now=now())
        case _:
            lifecycle.queue(session, job, start=JobState.WAITING, now=now())
            _walk_on(session, job, state)
    session.refresh(job)
    return job


def _walk_on(session: Session, job: Job, state: JobState) -> None:
    if state is JobState.QUEUED:
        return
    attempt = an_assigned_attempt(session, job)
    match state:
        case JobState.ASSIGNED:
            return
        case JobState.CANCELLED:
            lifecycle.cancel(session, job.id, by=None, now=now())
        case _:
            claim(session, attempt)
            if state is not JobState.RUNNING:
                finish(session, attempt, None if state is JobState.SUCCEEDED else TOOL)


def assign(session: Session, job_id: int, *slot_ids: str) -> int | None:
    """Lease slots to a queued job; the id of its attempt, None if it is not queued any more."""
    made = bulk.assign(session, [bulk.Allocation(job_id, slot_ids, "")], now=now(), lease=LEASE)
    return made[0][0] if made else None


def an_assigned_attempt(session: Session, job: Job | None = None, slot: Slot | None = None) -> Attempt:
    job = job or a_job(session)
    # Hosts of their own, since one host has but eight card groups.
    slot = slot or a_slot(session, "g0", host=f"host{next(_numbers)}")
    attempt_id = assign(session, job.id, slot.id)
    assert attempt_id is not None
    return session.get_one(Attempt, attempt_id)


def a_running_attempt(session: Session, job: Job | None = None, slot: Slot | None = None) -> Attempt:
    attempt = an_assigned_attempt(session, job, slot)
    claim(session, attempt)
    session.refresh(attempt)
    return attempt


def owner_of(session: Session, attempt_id: int, worker: str = WORKER) -> Owner:
    """The worker of the attempt's lead slot, as arrows ask for it."""
    return Owner(worker, session.scalar(select(Attempt.slot_id).where(Attempt.id == attempt_id)) or "lab1.g0")


def claim(session: Session, attempt: Attempt, worker: str = WORKER) -> bool:
    return lifecycle.claim(session, attempt.id, owner=owner_of(session, attempt.id, worker), now=now(), lease=LEASE)


def finish(
    session: Session, attempt: Attempt, failure: Failure | None = None, worker: str = WORKER, max_attempts: int = 3
) -> JobState:
    return lifecycle.finish(
        session,
        attempt.id,
        ending(failure),
        owner=owner_of(session, attempt.id, worker),
        now=now(),
        max_attempts=max_attempts,
    )


def needs(session: Session, job: Job, *others: Job, until: Until = Until.SUCCEEDED) -> None:
    session.add_all(JobNeed(job_id=job.id, needs_id=other.id, until=until) for other in others)
    session.flush()


def state_of(database: Database, job_id: int) -> JobState:
    with database.read() as session:
        return session.get_one(Job, job_id).state


def events_of(session: Session, job_id: int) -> list[str]:
    return list(session.scalars(select(Event.kind).where(Event.job_id == job_id).order_by(Event.id)))


def a_token(session: Session) -> Token:
    token = Token(name="ci", sha256="0" * 64, scopes=["submitter"], created_at=now())
    session.add(token)
    session.flush()
    return token


def build(session: Session, job: Job, store: ArtifactStore, content: bytes | None = None) -> Attempt:
    """Run a queued build to success, as its worker would, with one stored output."""
    made = {"quantize": "gm", "convert": "c_source", "compile": "kcore"}[job.kind]
    attempt = a_running_attempt(session, job, a_slot(session, "cpu0", host=f"host{next(_numbers)}"))
    stored = store.put_bytes(content or f"output of {job.id}".encode())
    finish(session, attempt)
    lifecycle.add_outputs(
        session,
        attempt.id,
        [{"name": made, "digest": stored.digest, "tree": False, "file_name": made, "size": stored.size}],
        now=now(),
    )
    session.flush()
    return attempt


def forget(store: ArtifactStore, digest: str) -> None:
    """Remove a stored file, as pruning would."""
    Path(store.path(digest)).unlink()
