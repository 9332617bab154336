"""Celery's consumer of one queue: records when it listens, and consumes its queue again after a cancel from outside."""

import logging
from typing import Any

from kombu.asynchronous.hub import Hub

from workers.flower_events import PatientConsumer
from workers.hearing import TICK, Hearing

log = logging.getLogger(__name__)


class SlotConsumer(PatientConsumer):
    """Consumes `queue` as long as its worker lives, even after `control cancel_consumer`."""

    def __init__(self, queue: str, hearing: Hearing, *args: Any, **kwargs: Any) -> None:
        self._queue = queue
        self._hearing = hearing
        super().__init__(*args, **kwargs)

    def register_with_event_loop(self, hub: Hub) -> None:
        """Called for each new connection; Celery drops the timer with the connection."""
        super().register_with_event_loop(hub)
        hub.call_repeatedly(TICK, self._listen)  # type: ignore[no-untyped-call]

    def ensure_connected(self, conn: Any) -> Any:
        """Called for each connection; tries again until the broker answers."""
        with self._hearing.connecting():
            return super().ensure_connected(conn)

    def _listen(self) -> None:
        if self.task_consumer is None:
            return
        if not self.task_consumer.consuming_from(self._queue):
            log.warning("queue no longer consumed; consuming it again", extra={"queue": self._queue})
            self.add_task_queue(self._queue)
        self._hearing.listens()
