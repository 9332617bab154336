"""Wait for a condition instead of for time to pass."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_PAUSE = 0.02


def eventually(probe: Callable[[], T], within: float = 30.0) -> T:
    """Return the first truthy value of `probe`; fail with the last value seen after `within` seconds.

    An AssertionError raised by the probe counts as "not yet" and is shown if time runs out.
    """
    deadline = time.monotonic() + within
    pause = threading.Event()
    while True:
        trouble: AssertionError | None = None
        value = None
        try:
            value = probe()
        except AssertionError as error:
            trouble = error
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s; last seen: {value!r}") from trouble
        pause.wait(_PAUSE)
