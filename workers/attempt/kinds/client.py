"""A job that sends requests to servers: if one of them has gone, the client is not at fault."""

import logging
import socket
from dataclasses import replace
from urllib.parse import urlsplit

from pydantic import ValidationError

from orchestrator.errors import EndpointClosed
from orchestrator.jobs import endpoints, needs
from orchestrator.model.assignments import Assignment, ForeignServer, UsedEndpoint
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.specs import ClientSpec
from workers.attempt.collect import Results
from workers.attempt.facts import Claimed, Ran
from workers.attempt.kinds import elsewhere
from workers.attempt.kinds.tool import Tool

log = logging.getLogger(__name__)

_PATIENCE = 2.0
"""Seconds in which a live server accepts a connection."""


class Client(Tool):
    """Judged like any tool; when it has failed, its servers are checked again."""

    def __init__(self, claimed: Claimed) -> None:
        super().__init__(claimed)
        self._elsewhere: tuple[ForeignServer, ...] = ()

    def _complete(self, assignment: Assignment) -> Assignment:
        """With the servers that were not started here."""
        try:
            spec = ClientSpec.model_validate(assignment.spec)
        except ValidationError:
            return assignment  # The plan reports it.
        self._elsewhere = elsewhere.found(spec.elsewhere, self._claimed.slot.settings)
        return replace(assignment, elsewhere=self._elsewhere)

    def judge(self, ran: Ran) -> Failure | None:
        """Why the run failed, or which server has gone."""
        return self._blamed(super().judge(ran))

    def accept(self, ran: Ran, results: Results) -> Failure | None:
        """Why its results are not complete, or which server has gone."""
        return self._blamed(super().accept(ran, results))

    def _blamed(self, failure: Failure | None) -> Failure | None:
        """The failure of the client, or that of a server which has gone.

        Servers that do not answer are recorded, so that the client's next attempt does not start with them.
        """
        if failure is None or failure.kind not in (FailureKind.TOOL, FailureKind.OUTPUT_MISSING):
            return failure
        try:
            found = [why for used in self._claimed.assignment.endpoints if (why := self._gone(used)) is not None]
            found += [why for used in self._elsewhere if (why := elsewhere.why_gone(used)) is not None]
        except Exception:
            # The client's own failure is reported in any case.
            log.exception("servers not checked", extra={"attempt": self._claimed.id})
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
        # A killed server refuses connections before its worker has reported its end.
        parts = urlsplit(used.url)
        try:
            with socket.create_connection((parts.hostname or "", used.port), timeout=_PATIENCE):
                return None
        except OSError as error:
            with database.write() as session:
                needs.note_gone(session, self._claimed.assignment.job_id, used.job_id, attempt_id=used.attempt_id)
            return f"the server of job {used.job_id} at {used.url} does not answer ({error.strerror or error})"
