"""Whether a client failed because a server that it uses is gone: the server is looked at again."""

import socket
from collections.abc import Sequence
from urllib.parse import urlsplit

from orchestrator.errors import EndpointClosed
from orchestrator.jobs import endpoints, needs
from orchestrator.jobs.used_endpoints import UsedEndpoint
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.storage.database import Database

_PATIENCE = 2.0
"""Seconds in which a server that is there takes a connection."""


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
            needs.note_gone(session, job_id, used.job_id, attempt_id=used.attempt_id)
        return f"the server of job {used.job_id} at {used.url} does not answer ({error.strerror or error})"
