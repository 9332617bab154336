"""Calls that run in parallel to their caller, in daemon threads that are reused.

To start a thread is to wait until it runs, which takes milliseconds on a busy machine; an attempt needs three of them
before its tool can start.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue

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
