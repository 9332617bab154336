"""Attempts that follow one another on a slot with one doorbell: each was taken by the end of the one before it.

For Celery they all belong to the request of that doorbell. Flower sees each as a task of its own, and a revoke of
such a task, or a stop of the worker, reaches the attempt that runs.
"""

import threading
import time
from typing import Any

from celery.worker import state

from orchestrator.broker import RUN_ATTEMPT
from orchestrator.model.assignments import Assignment, in_one_line
from orchestrator.model.states import AttemptState
from workers.attempt.ending import Ended
from workers.processes.process import StopReason
from workers.processes.stops import STOPS


def stopping() -> bool:
    """Whether this worker has been told to stop."""
    return any(told not in (None, False) for told in (state.should_stop, state.should_terminate))


class Chain:
    """What runs under the doorbell that this process has last heard."""

    def __init__(self) -> None:
        # Re-entrant, for a signal handler that interrupts the thread that holds it.
        self._lock = threading.RLock()
        self._bell: int | None = None
        self._running: tuple[int, str] | None = None
        self._stopped = False

    def begin(self, bell: int) -> None:
        """A doorbell for this attempt was heard; nothing follows it yet."""
        with self._lock:
            self._bell, self._running, self._stopped = bell, None, False

    def follow(self, attempt_id: int, task_id: str) -> None:
        """From now on this attempt runs."""
        with self._lock:
            self._running = attempt_id, task_id
            if self._stopped:
                STOPS.of(attempt_id).request(StopReason.SHUTDOWN)
            elif task_id in state.revoked:
                STOPS.of(attempt_id).request(StopReason.CANCELLED)

    def end(self) -> None:
        """Nothing runs any more."""
        with self._lock:
            self._bell = self._running = None

    def stop(self, bell: int, reason: StopReason, by: str | None) -> None:
        """Stop the attempt of a doorbell; if the worker stops, whatever has followed it."""
        with self._lock:
            attempt_id = bell
            if bell == self._bell and reason is StopReason.SHUTDOWN:
                self._stopped = True
                attempt_id = bell if self._running is None else self._running[0]
            elif bell == self._bell and self._running is not None:
                return  # the attempt of this doorbell has ended
            STOPS.of(attempt_id).request(reason, by=by)

    def revoke(self, task_id: object, by: str | None) -> None:
        """Cancel the attempt that runs, if it has followed another one and is this task."""
        with self._lock:
            if self._running is not None and self._running[1] == task_id:
                STOPS.of(self._running[0]).request(StopReason.CANCELLED, by=by)


CHAIN = Chain()
"""Of this process: it owns one slot."""


class TaskEvents:
    """The events of one attempt for Flower, as Celery sends them for a doorbell."""

    def __init__(self, bell_task_id: str, task_id: str) -> None:
        request = state.requests.get(bell_task_id)
        self._eventer = None if request is None else request.eventer
        self._task_id = task_id
        self._began = time.monotonic()

    def began(self, assignment: Assignment) -> None:
        """It was received and started."""
        job, kind = (assignment.job_id, assignment.job_name), assignment.spec["kind"]
        about = in_one_line(*job, kind, assignment.slot_ids, assignment.number)
        self._send("task-received", name=RUN_ATTEMPT, args=about, kwargs="{}", retries=0, eta=None, expires=None)
        self._send("task-started")

    def ended(self, ended: Ended) -> None:
        """It ended so."""
        match ended.state:
            case AttemptState.SUCCEEDED:
                self._send("task-succeeded", result="'succeeded'", runtime=time.monotonic() - self._began)
            case AttemptState.CANCELLED:
                self._send("task-revoked", terminated=True, signum="SIGINT", expired=False)
            case _:
                self._send("task-failed", exception=ended.reason, traceback="")

    def _send(self, kind: str, **fields: Any) -> None:
        if self._eventer is not None and self._eventer.enabled:
            self._eventer.send(kind, uuid=self._task_id, **fields)
