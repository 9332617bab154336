"""Events of a worker's attempts for Flower: all of them, but without three round trips per attempt."""

import time
from typing import Any

from celery.worker.consumer import Consumer

_TOGETHER = 0.5
"""Seconds of events that are sent together, in one round trip to the broker."""


class PatientConsumer(Consumer):  # type: ignore[misc]  # Celery has no types
    """Celery's own dispatcher sends its events before it next listens to the broker."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sent_by = 0.0

    def on_send_event_buffered(self) -> None:
        """Called with each event, by the thread that listens to the broker or the one that runs the attempt."""
        if self.hub:
            # Each time: it wakes the loop, which fetches no further doorbell before it has seen an attempt end.
            self.hub.call_soon(self._send_soon)

    def stop(self) -> None:
        """Send the remaining events, then report that the worker stops."""
        self._flush_events()
        super().stop()

    def _send_soon(self) -> None:
        # By a time and not by a flag, because the timer may be lost together with a connection.
        if time.monotonic() >= self._sent_by:
            self._sent_by = time.monotonic() + _TOGETHER
            self.hub.call_later(_TOGETHER, self._flush_events)
