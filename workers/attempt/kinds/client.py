"""A job that asks servers: if one of them is gone, the failure is not the client's own."""

import logging
import socket
from urllib.parse import urlsplit

from orchestrator.errors import EndpointClosed
from orchestrator.jobs import endpoints, needs
from orchestrator.jobs.used_endpoints import UsedEndpoint
from orchestrator.model.failures import Failure, FailureKind
from workers.attempt.collect import Results
from workers.attempt.facts import Ran
from workers.attempt.kinds.tool import Tool

log = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds in which a server that is there takes a connection."""


class Client(Tool):
    """Judged as any tool; when it has failed, its servers are looked at again."""

    def judge(self, ran: Ran) -> Failure | None:
        """Why the run failed, or which server is gone."""
        return self._blamed(super().judge(ran))

    def accept(self, ran: Ran, results: Results) -> Failure | None:
        """Why its results are not complete, or which server is gone."""
        return self._blamed(super().accept(ran, results))

    def _blamed(self, failure: Failure | None) -> Failure | None:
        """The failure of the client, or that of a server which is not there any more.

        It is noted which servers do not answer, so that a client which is tried again does not begin with them.
        """
        if failure is None or failure.kind not in (FailureKind.TOOL, FailureKind.OUTPUT_MISSING):
            return failure
        try:
            found = [why for used in self._claimed.assignment.endpoints if (why := self._gone(used)) is not None]
        except Exception:
            # What the client itself failed of is known all the same.
            log.exception("servers not looked at", extra={"attempt": self._claimed.id})
            return failure
        if not found:
            return failure
        return failure.model_copy(update={"kind": FailureKind.SERVER_GONE, "reason": f"{found[0]}: {failure.reason}"})

    def _gone(self, used: UsedEndpoint) -> str | None:
        database = self._claimed.slot.database
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
                needs.note_gone(session, self._claimed.assignment.job_id, used.job_id, attempt_id=used.attempt_id)
            return f"the server of job {used.job_id} at {used.url} does not answer ({error.strerror or error})"
