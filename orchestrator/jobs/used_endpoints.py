"""The servers that a client uses: looked up when its attempt is claimed, and marked as used."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from orchestrator.errors import EndpointClosed
from orchestrator.jobs import endpoints
from orchestrator.jobs.needs import NEED
from orchestrator.model.assignments import UsedEndpoint
from orchestrator.model.states import Until
from orchestrator.storage.tables import Base

_JOB, _ENDPOINT, _ATTEMPT = (Base.metadata.tables[name] for name in ("job", "endpoint", "attempt"))

_USED = (
    select(_JOB.c.id, _JOB.c.name, _ENDPOINT.c.attempt_id, _ENDPOINT.c.url, _ENDPOINT.c.served_id, _ATTEMPT.c.slot_id)
    .join(NEED, NEED.c.needs_id == _JOB.c.id)
    .join(_ENDPOINT, _ENDPOINT.c.job_id == _JOB.c.id)
    .join(_ATTEMPT, _ATTEMPT.c.id == _ENDPOINT.c.attempt_id)
    .where(NEED.c.job_id == bindparam("job"), NEED.c.until == Until.READY, _ENDPOINT.c.closed_at.is_(None))
    .order_by(_JOB.c.id)
)


def of_job(session: Session, job_id: int) -> tuple[UsedEndpoint, ...]:
    """The open endpoints that a job uses, by the number of the server; one that has closed is missing."""
    rows = session.execute(_USED, {"job": job_id})
    return tuple(
        UsedEndpoint(row.id, row.name, row.attempt_id, row.url, row.served_id, host=row.slot_id.rpartition(".")[0])
        for row in rows
    )


def note_use(session: Session, used: Sequence[int], now: datetime) -> None:
    """Record that the endpoints of these attempts are used; endpoints that have closed are ignored."""
    for attempt_id in used:
        with suppress(EndpointClosed):
            endpoints.note_use(session, attempt_id, now)
