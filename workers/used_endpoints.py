"""The servers that a client's attempt asks: found when it is claimed, and looked at again when it has failed."""

import socket
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from urllib.parse import urlsplit

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from orchestrator import endpoints
from orchestrator.errors import EndpointClosed
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import Until
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Base

_NEED, _JOB, _ENDPOINT, _ATTEMPT = (Base.metadata.tables[name] for name in ("job_need", "job", "endpoint", "attempt"))
_USED = (
    select(_JOB.c.id, _JOB.c.name, _ENDPOINT.c.attempt_id, _ENDPOINT.c.url, _ENDPOINT.c.served_id, _ATTEMPT.c.slot_id)
    .join(_NEED, _NEED.c.needs_id == _JOB.c.id)
    .join(_ENDPOINT, _ENDPOINT.c.job_id == _JOB.c.id)
    .join(_ATTEMPT, _ATTEMPT.c.id == _ENDPOINT.c.attempt_id)
    .where(_NEED.c.job_id == bindparam("job"), _NEED.c.until == Until.READY, _ENDPOINT.c.closed_at.is_(None))
    .order_by(_JOB.c.id)
)

_NOTE_GONE = (
    update(_NEED)
    .where(_NEED.c.job_id == bindparam("client"), _NEED.c.needs_id == bindparam("server"))
    .values(gone_attempt_id=bindparam("gone"))
)

_PATIENCE = 2.0
"""Seconds in which a server that is there takes a connection."""


@dataclass(frozen=True)
class UsedEndpoint:
    """One open endpoint as an attempt found it."""

    job_id: int
    job_name: str
    attempt_id: int
    url: str
    served_id: str
    host: str
    """Whose cards it is on."""

    @property
    def port(self) -> int:
        """Where it listens."""
        return urlsplit(self.url).port or 80

    @property
    def on_loopback(self) -> bool:
        """Whether it can be asked from its own host alone."""
        address = urlsplit(self.url).hostname or ""
        try:
            return ip_address(address).is_loopback
        except ValueError:
            return address == "localhost"


def of_job(session: Session, job_id: int) -> tuple[UsedEndpoint, ...]:
    """The open endpoints that a job uses, by the number of the server; one that has closed is missing."""
    rows = session.execute(_USED, {"job": job_id})
    return tuple(
        UsedEndpoint(row.id, row.name, row.attempt_id, row.url, row.served_id, host=row.slot_id.rpartition(".")[0])
        for row in rows
    )


def note_use(session: Session, used: Sequence[int], now: datetime) -> None:
    """Say of the endpoints of these attempts that they are used; one that has closed needs it no more."""
    for attempt_id in used:
        with suppress(EndpointClosed):
            endpoints.note_use(session, attempt_id, now)


def blamed(database: Database, job_id: int, used: Sequence[UsedEndpoint], failure: Failure) -> Failure:
    """The failure of a client, or that of a server which is not there any more: then it is not the client's own.

    It is noted which servers do not answer, so that a client which is tried again does not begin with them.
    """
    if failure.kind not in (FailureKind.TOOL, FailureKind.OUTPUT_MISSING):
        return failure
    found = [why for each in used if (why := _gone(database, job_id, each)) is not None]
    if not found:
        return failure
    return failure.model_copy(update={"kind": FailureKind.SERVER_GONE, "reason": f"{found[0]}: {failure.reason}"})


def _gone(database: Database, job_id: int, used: UsedEndpoint) -> str | None:
    with database.read() as session:
        try:
            still = endpoints.of_job(session, used.job_id).attempt_id == used.attempt_id
        except EndpointClosed:
            still = False
    if not still:
        return f"the server of job {used.job_id} ended meanwhile"
    # One that was killed is refused before its worker has reported it.
    parts = urlsplit(used.url)
    try:
        with socket.create_connection((parts.hostname or "", used.port), timeout=_PATIENCE):
            return None
    except OSError as error:
        with database.write() as session:
            session.execute(_NOTE_GONE, {"client": job_id, "server": used.job_id, "gone": used.attempt_id})
        return f"the server of job {used.job_id} at {used.url} does not answer ({error.strerror or error})"
