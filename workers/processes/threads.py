"""Calls that run in parallel to their caller, in daemon threads that are reused.

To start a thread is to wait until it runs, which takes milliseconds on a busy machine; to wake one costs as much
processor time as a statement in SQL. So what only a longer run needs is called `Later`.
"""

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable
from queue import SimpleQueue

log = logging.getLogger(__name__)

_TRY_AGAIN = 0.1

_Order = tuple[Callable[[], object], threading.Event]

_IDLE: list[SimpleQueue[_Order]] = []
"""The threads that wait for an order; one that hangs in a call is not among them, so nothing waits for it."""


def beside(call: Callable[[], object]) -> threading.Event:
    """Run `call` in another thread; the event is set when it has returned, or raised."""
    done = threading.Event()
    try:
        orders = _IDLE.pop()
    except IndexError:
        orders = SimpleQueue()
        threading.Thread(target=_serve, args=(orders,), name="beside", daemon=True).start()
    orders.put((call, done))
    return done


def _serve(orders: SimpleQueue[_Order]) -> None:
    while True:
        call, done = orders.get()
        try:
            call()
            _IDLE.append(orders)
        finally:
            done.set()


class Later:
    """A call beside its caller after some seconds, unless it is called off before.

    One thread waits for all of them, and for none that is called off: it sleeps until the next is due."""

    def __init__(self, seconds: float, call: Callable[[], object]) -> None:
        self._call: Callable[[], object] | None = call
        self._returned: threading.Event | None = None
        _CLOCK.add(self, time.monotonic() + seconds)

    def begin(self) -> None:
        """Make the call now; for the clock."""
        with _CLOCK.lock:
            if self._call is not None:
                self._returned = beside(self._call)
                self._call = None

    def call_off(self, patience: float | None = None) -> bool:
        """Do not make the call any more; if it was made, wait for its return: False if that takes longer."""
        with _CLOCK.lock:
            self._call = None
            returned = self._returned
        return returned is None or returned.wait(patience)


class _Clock:
    """The calls that are due later."""

    def __init__(self) -> None:
        self.lock = threading.Condition()
        self._due: list[tuple[float, int, Later]] = []
        self._numbers = itertools.count()
        self._runs = False

    def add(self, later: Later, at: float) -> None:
        with self.lock:
            if not self._runs:
                threading.Thread(target=self._follow, name="later", daemon=True).start()
                self._runs = True
            heapq.heappush(self._due, (at, next(self._numbers), later))
            if self._due[0][2] is later:
                self.lock.notify()

    def _follow(self) -> None:
        while True:
            with self.lock:
                while not self._due or self._due[0][0] > time.monotonic():
                    self.lock.wait(self._due[0][0] - time.monotonic() if self._due else None)
                _, _, later = heapq.heappop(self._due)
            try:
                later.begin()
            except Exception:
                # No thread can be started now. A call may be what stops a tool in time, so it is not given up.
                log.warning("a call is late; trying again", exc_info=True)
                self.add(later, time.monotonic() + _TRY_AGAIN)


_CLOCK = _Clock()
