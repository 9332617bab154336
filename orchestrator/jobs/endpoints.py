"""Endpoints of servers: opened when a server is ready, looked up by clients, marked when used.

An endpoint is closed in the transaction that ends its attempt (`orchestrator.jobs.leases`), for whatever reason it
ends.
"""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Select, select, update
from sqlalchemy.orm import Session

from orchestrator.errors import EndpointClosed, OwnershipLost
from orchestrator.jobs.ownership import Owner
from orchestrator.model.states import FINAL
from orchestrator.storage.events import record
from orchestrator.storage.tables import Attempt, Endpoint, Job


def announce(
    session: Session, attempt_id: int, *, owner: Owner, url: str, served_id: str, now: datetime, openly: bool = False
) -> Endpoint:
    """Open the endpoint of a server that is ready; OwnershipLost if the attempt no longer belongs to this worker.

    `openly`: it listens at addresses that other machines may reach, although it was to listen on loopback."""
    running = select(Attempt.slot_id, Job.id, Job.spec).join(Job, Job.id == Attempt.job_id)
    mine = (Attempt.id == attempt_id, *owner.runs)
    found = session.execute(running.where(*mine).with_for_update(of=Attempt, key_share=True)).one_or_none()
    if found is None:
        raise OwnershipLost("this worker no longer owns the attempt", attempt=attempt_id)
    slot_id, job_id, spec = found
    opened = Endpoint(
        attempt_id=attempt_id, job_id=job_id, model=spec["model"], served_id=served_id, url=url,
        groups=spec["groups"], ready_at=now, openly=openly,
    )  # fmt: skip
    session.add(opened)
    session.flush()
    record(session, "attempt.ready", now, job_id=job_id, attempt_id=attempt_id, slot_id=slot_id, url=url, openly=openly)
    return opened


def open_endpoints(session: Session, model: str | None = None) -> Sequence[Endpoint]:
    """Endpoints that accept requests now, by the number of their job: of every model, or of one."""
    found = _open() if model is None else _open().where(Endpoint.model == model)
    return session.scalars(found.order_by(Endpoint.job_id)).all()


def coming(session: Session, model: str) -> Sequence[int]:
    """The jobs that will have an endpoint of this model once they are ready, unless they fail or are stopped."""
    serving = select(Job.id).where(Job.kind == "serve", Job.spec["model"].as_string() == model)
    staying = (Job.state.not_in(FINAL), Job.stop.is_(None), ~Job.cancel_requested)
    return session.scalars(serving.where(*staying).order_by(Job.id)).all()


def of_job(session: Session, job_id: int) -> Endpoint:
    """The open endpoint of a job; EndpointClosed if it has none now."""
    found = session.scalars(_open().where(Endpoint.job_id == job_id)).one_or_none()
    if found is None:
        raise EndpointClosed(f"job {job_id} has no open endpoint: its server is not ready yet or has ended", job=job_id)
    return found


def note_use(session: Session, attempt_id: int, now: datetime) -> None:
    """Record that an endpoint was used, so that it is not idle; EndpointClosed if it has closed.

    This is a separate write: a frequent caller records its use every few seconds, not for each request.
    """
    standing = update(Endpoint).where(Endpoint.attempt_id == attempt_id, Endpoint.closed_at.is_(None))
    noted = standing.values(last_used_at=now).returning(Endpoint.attempt_id)
    if session.scalar(noted) is None:
        raise EndpointClosed("the endpoint is closed: its server has ended", attempt=attempt_id)


def _open() -> Select[Endpoint]:
    # The endpoint of a server that is being stopped stays open until it has ended, but takes no new clients.
    staying = (Job.stop.is_(None), ~Job.cancel_requested)
    return select(Endpoint).join(Job, Job.id == Endpoint.job_id).where(Endpoint.closed_at.is_(None), *staying)
