"""Servers that have not ended, and which of them are to be stopped: the rows for `model.serving.why_stop`."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session, aliased

from orchestrator.model.card_specs import ServeSpec
from orchestrator.model.serving import Served, why_stop
from orchestrator.model.states import FINAL, Until
from orchestrator.storage.tables import Endpoint, Job, JobNeed

_A_SERVER = text("job.kind = 'serve'")
"""Written literally, otherwise SQLite does not use the partial index of servers."""


@dataclass(frozen=True)
class _Clients:
    count: int = 0
    unfinished: int = 0
    siblings: int = 0


def to_stop(session: Session, now: datetime) -> list[tuple[int, str]]:
    """The jobs for which `lifecycle.stop` is due, and why; without those already requested to stop."""
    found = _servers(session)
    clients = _clients(session, [job.id for job, _, _ in found])
    return list(_due(found, clients, now))


def _due(
    found: Collection[tuple[Job, datetime | None, Endpoint | None]], clients: dict[int, _Clients], now: datetime
) -> Iterator[tuple[int, str]]:
    for job, began_at, endpoint in found:
        users = clients.get(job.id, _Clients())
        seen = Served(
            began_at=began_at,
            ready_at=None if endpoint is None else endpoint.ready_at,
            used_at=None if endpoint is None else endpoint.last_used_at,
            clients=users.count,
            unfinished=users.unfinished,
            siblings=users.siblings,
        )
        # It was valid when it was submitted; if it no longer is, the loop must still reach all others.
        why = why_stop(ServeSpec.model_construct(**job.spec), seen, now)
        if why is not None:
            yield job.id, why


def _servers(session: Session) -> list[tuple[Job, datetime | None, Endpoint | None]]:
    """Servers that may continue, by number: each with the time when it was first ready, and its endpoint while open."""
    any_of_it = aliased(Endpoint)
    began_at = select(func.min(any_of_it.ready_at)).where(any_of_it.job_id == Job.id).scalar_subquery()
    standing = (_A_SERVER, Job.state.not_in(FINAL), Job.stop.is_(None), ~Job.cancel_requested)
    open_one = (Endpoint.job_id == Job.id) & Endpoint.closed_at.is_(None)
    servers = select(Job, began_at, Endpoint).outerjoin(Endpoint, open_one).where(*standing).order_by(Job.id)
    return [(job, began, endpoint) for job, began, endpoint in session.execute(servers)]


def _clients(session: Session, servers: Collection[int]) -> dict[int, _Clients]:
    if not servers:
        return {}
    client, server = aliased(Job), aliased(Job)
    counts = (
        select(
            JobNeed.needs_id,
            func.count(),
            func.count().filter(client.state.not_in(FINAL)),
            func.count().filter(client.pipeline_id == server.pipeline_id),
        )
        .join(client, client.id == JobNeed.job_id)
        .join(server, server.id == JobNeed.needs_id)
        .where(JobNeed.needs_id.in_(servers), JobNeed.until == Until.READY)
        .group_by(JobNeed.needs_id)
    )
    return {needed: _Clients(*numbers) for needed, *numbers in session.execute(counts)}
