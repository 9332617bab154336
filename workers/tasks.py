"""The Celery side of an attempt: it receives a doorbell and reports the end of the attempt to Flower.

Nothing is decided here. A revoke (Flower's button, `celery control revoke`) becomes an ordinary cancel of the job in
SQL; a worker that gets a stop signal passes it on to the tool.
"""

import logging
from typing import Any

from celery import Celery
from celery.exceptions import Ignore
from celery.worker.request import Request
from celery.worker.state import revoked

from orchestrator.broker import RUN_ATTEMPT
from orchestrator.model.states import AttemptState
from orchestrator.storage.artifacts import ArtifactStore
from workers.attempt.ending import Ended
from workers.attempt.execution import execute
from workers.processes.process import StopReason
from workers.processes.stops import STOPS
from workers.revokes import REVOKED_BY
from workers.slot import OwnedSlot

log = logging.getLogger(__name__)


class AttemptFailed(Exception):
    """Shown by Flower as FAILURE; the text is the one-line reason. SQL decides whether there is another attempt."""


class AttemptCancelled(Ignore):  # type: ignore[misc]  # Celery has no types
    """Shown by Flower as REVOKED."""


class AttemptRequest(Request):  # type: ignore[misc]  # Celery has no types
    """Celery's request object of a doorbell. The pool of threads cannot stop anything, so stopping goes to the tool
    instead."""

    def revoked(self) -> bool:
        """Never discard a doorbell: the dispatcher would send it again for ever. A revoked one is accepted, and its job
        cancelled."""
        if self.id in revoked:
            self._stop(StopReason.CANCELLED)
        return False

    def terminate(self, pool: Any, signal: Any = None) -> None:
        """`revoke(terminate=True)`, which is what Flower's Terminate button sends."""
        self._stop(StopReason.CANCELLED)

    def cancel(self, pool: Any, signal: Any = None, emit_retry: bool = True) -> None:
        """The worker is stopping, and its grace period has ended."""
        self._stop(StopReason.SHUTDOWN)

    def on_timeout(self, soft: bool, timeout: float) -> None:
        """A time limit that came with the message; we set none."""
        self._stop(StopReason.RUN_LIMIT)

    def on_failure(self, exc_info: Any, send_failed_event: bool = True, return_ok: bool = False) -> Any:
        """Report a cancelled attempt to Flower, which Celery itself would not do."""
        if isinstance(exc_info.exception, AttemptCancelled):
            return self._announce_revoked("cancelled", True, "SIGINT", False)
        return super().on_failure(exc_info, send_failed_event, return_ok)

    def _stop(self, reason: StopReason) -> None:
        match self.args:
            case [int(attempt_id)]:
                STOPS.of(attempt_id).request(reason, by=REVOKED_BY.of(self.id))


def register(app: Celery, slot: OwnedSlot, store: ArtifactStore) -> None:
    """Make `app` run attempts for the doorbells of `slot`."""

    @app.task(name=RUN_ATTEMPT, Request=AttemptRequest, throws=(AttemptFailed,))  # type: ignore[untyped-decorator]
    def run_attempt(attempt_id: int) -> str:
        try:
            if slot.lost.is_set():
                return "not started: this worker no longer owns the slot"
            return _result_for_flower(attempt_id, execute(attempt_id, slot, store, STOPS.of(attempt_id)))
        finally:
            STOPS.forget(attempt_id)


def _result_for_flower(attempt_id: int, ended: Ended | None) -> str:
    about = {"attempt": attempt_id, "state": ended and ended.state, "reason": ended and ended.reason}
    log.info("attempt ended" if ended else "doorbell ignored", extra=about)
    match ended:
        case None:
            return "not available"
        case Ended(AttemptState.SUCCEEDED):
            return "succeeded"
        case Ended(AttemptState.CANCELLED, reason):
            raise AttemptCancelled(reason)
        case Ended(_, reason):
            raise AttemptFailed(reason)
