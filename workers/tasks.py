"""The Celery side of an attempt: it receives a doorbell and reports the end of the attempt to Flower.

Nothing is decided here. A revoke (Flower's button, `celery control revoke`) becomes an ordinary cancel of the job in
SQL; a worker that gets a stop signal passes it on to the tool. With one doorbell a worker runs attempts as long as the
end of each has started the next one in line (`workers.chain`).
"""

import logging
from functools import partial
from typing import Any

from celery import Celery
from celery.exceptions import Ignore
from celery.worker.request import Request
from celery.worker.state import revoked

from orchestrator.broker import RUN_ATTEMPT
from orchestrator.model.assignments import task_id_of
from orchestrator.model.states import AttemptState
from orchestrator.storage.artifacts import ArtifactStore
from workers.attempt.ending import Ended
from workers.attempt.execution import execute, execute_taken
from workers.attempt.facts import Taken
from workers.chain import CHAIN, TaskEvents, stopping
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
                CHAIN.stop(attempt_id, reason, REVOKED_BY.of(self.id))


def register(app: Celery, slot: OwnedSlot, store: ArtifactStore) -> None:
    """Make `app` run attempts for the doorbells of `slot`."""

    @app.task(name=RUN_ATTEMPT, Request=AttemptRequest, throws=(AttemptFailed,), bind=True)  # type: ignore[untyped-decorator]
    def run_attempt(self: Any, attempt_id: int) -> str:
        CHAIN.begin(attempt_id)
        try:
            if slot.lost.is_set():
                return "not started: this worker no longer owns the slot"
            ended = execute(attempt_id, slot, store, STOPS.of(attempt_id), takes_next=partial(_takes_next, slot))
            STOPS.forget(attempt_id)
            if ended is not None and ended.following is not None:
                TaskEvents(self.request.id, self.request.id).ended(ended)
                _run_chain(ended.following, slot, store, bell_task_id=self.request.id)
            return _result_for_flower(attempt_id, ended)
        finally:
            STOPS.forget(attempt_id)
            CHAIN.end()


def _takes_next(slot: OwnedSlot) -> bool:
    return not slot.lost.is_set() and not stopping()


def _run_chain(first: Taken, slot: OwnedSlot, store: ArtifactStore, *, bell_task_id: str) -> None:
    """Run an attempt that this worker has taken, and those that follow it, each as its end says."""
    taken: Taken | None = first
    while taken is not None:
        assignment = taken.assignment
        attempt_id, task_id = assignment.attempt_id, task_id_of(assignment.job_id, assignment.number)
        events = TaskEvents(bell_task_id, task_id)
        events.began(assignment)
        CHAIN.follow(attempt_id, task_id)
        try:
            ended = execute_taken(taken, slot, store, STOPS.of(attempt_id), takes_next=partial(_takes_next, slot))
        finally:
            STOPS.forget(attempt_id)
        log.info("attempt ended", extra={"attempt": attempt_id, "state": ended.state, "reason": ended.reason})
        events.ended(ended)
        taken = ended.following


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
