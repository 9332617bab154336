"""When a job's need for another job is met: the rule, and the statements that query and write needs.

A need that waits until a job has succeeded is met when it has. A need for a server is met while an endpoint of it is
open. A server that is being stopped counts as closed: a client that started now would lose its connection. So does one
that a client has found gone (`note_gone`), before the end of its attempt is reported; its next attempt counts again.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Exists,
    FromClause,
    Row,
    Select,
    and_,
    bindparam,
    exists,
    insert,
    literal_column,
    or_,
    select,
    update,
)
from sqlalchemy.orm import Session

from orchestrator.model.states import FINAL, JobState, Until
from orchestrator.storage.tables import Base, Job, JobNeed

NEED, _ENDPOINT, _JOB = (Base.metadata.tables[name] for name in ("job_need", "endpoint", "job"))


def met(needed: FromClause) -> ColumnElement[bool]:
    """Whether a row of `NEED` is met by the job that it references."""
    ended_well = and_(NEED.c.until == Until.SUCCEEDED, needed.c.state == JobState.SUCCEEDED)
    answers = or_(NEED.c.gone_attempt_id.is_(None), NEED.c.gone_attempt_id != _ENDPOINT.c.attempt_id)
    its_own = exists().where(_ENDPOINT.c.job_id == needed.c.id, _ENDPOINT.c.closed_at.is_(None), answers)
    staying = and_(needed.c.stop.is_(None), ~needed.c.cancel_requested)
    return or_(ended_well, and_(NEED.c.until == Until.READY, staying, its_own))


def unmet(job: FromClause, needed: FromClause) -> Exists:
    """Whether a job has a need that is not met, whether it may still be met or never."""
    return exists().where(NEED.c.job_id == job.c.id, NEED.c.needs_id == needed.c.id, ~met(needed))


def pending(job: FromClause, needed: FromClause) -> Exists:
    """Whether a job has an unmet need that may still be met."""
    return unmet(job, needed).where(needed.c.state.not_in(FINAL))


def broken(job: FromClause, needed: FromClause) -> Exists:
    """Whether a job has a need that will never be met."""
    return unmet(job, needed).where(needed.c.state.in_(FINAL))


# Built once, on plain tables: they run for every submitted job, or in every turn.


def _unready() -> Select[int, int]:
    """Starts from the few servers that have not ended and finds their clients, so its cost does not depend on the
    queue."""
    client, server = _JOB.alias(), _JOB.alias()
    standing = (server.c.kind == literal_column("'serve'"), server.c.state.not_in(FINAL))
    return (
        select(client.c.id, server.c.id)
        .join_from(server, NEED, NEED.c.needs_id == server.c.id)
        .join(client, client.c.id == NEED.c.job_id)
        .where(*standing, NEED.c.until == Until.READY, client.c.state == JobState.QUEUED, ~met(server))
        .order_by(client.c.id, server.c.id)
    )


_UNREADY = _unready()

_OF_JOB = (
    select(_JOB.c.id, _JOB.c.name, _JOB.c.state, NEED.c.until, met(_JOB).label("met"))
    .join(NEED, NEED.c.needs_id == _JOB.c.id)
    .where(NEED.c.job_id == bindparam("job"))
    .order_by(_JOB.c.id)
)
_ADD = insert(NEED)
_NOTE_GONE = (
    update(NEED)
    .where(NEED.c.job_id == bindparam("client"), NEED.c.needs_id == bindparam("server"))
    .values(gone_attempt_id=bindparam("gone"))
)


def of_job(session: Session, job_id: int) -> Sequence[Row[Any]]:
    """What a job needs, by number: `id`, `name` and `state` of the other job, `until` when, and whether it is `met`."""
    return session.execute(_OF_JOB, {"job": job_id}).all()


def servers_of(session: Session, client: int) -> Sequence[Job]:
    """The servers whose endpoints a job uses, whatever their state."""
    servers = select(Job).join(JobNeed, JobNeed.needs_id == Job.id)
    return session.scalars(servers.where(JobNeed.job_id == client, JobNeed.until == Until.READY)).all()


def unready(session: Session) -> dict[int, int]:
    """Queued jobs that use a server which is no longer ready and may become ready again, each with one such server."""
    return {row[0]: row[1] for row in session.execute(_UNREADY)}


def add(session: Session, needs: Sequence[tuple[int, int, Until]]) -> None:
    """Write needs, each as the job, the job that it needs, and until when it waits for that."""
    if needs:
        session.execute(_ADD, [{"job_id": job, "needs_id": needed, "until": until} for job, needed, until in needs])


def note_gone(session: Session, client: int, server: int, *, attempt_id: int) -> None:
    """Record that this attempt of a server does not answer, so that the client's next attempt does not start with
    it."""
    session.execute(_NOTE_GONE, {"client": client, "server": server, "gone": attempt_id})
