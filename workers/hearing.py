"""Whether the loop of this worker consumes its queue; decides whether its heartbeat in SQL may report it as alive.

The loop of Celery's consumer stores a time while it runs and its queue is consumed. The heartbeat thread reads this
time: a worker that does not receive doorbell messages must not look alive.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

TICK = 1.0
"""Seconds between two updates of the time."""


class Hearing:
    """When the loop last listened, and when it last did anything, by the monotonic clock."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._listened_at = self._moved_at = clock()
        self._connecting = False

    def listens(self) -> None:
        """Record that the loop runs and the queue is consumed."""
        self._listened_at = self._moved_at = self._clock()

    @contextmanager
    def connecting(self) -> Iterator[None]:
        """Record that the loop does not listen, but tries to: it waits for a broker that does not answer."""
        self._connecting = True
        try:
            yield
        finally:
            self._moved_at, self._connecting = self._clock(), False

    @property
    def deaf_for(self) -> float:
        """Seconds since it last listened."""
        return self._clock() - self._listened_at

    @property
    def stuck_for(self) -> float:
        """Seconds since it last listened, or had connected to the broker; 0 while it connects."""
        return 0.0 if self._connecting else self._clock() - self._moved_at
