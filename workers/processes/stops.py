"""How every part of this process reaches the attempt that runs in it."""

from workers.processes.process import StopReason, StopSignal


class StopSignals:
    """The stop signal of every attempt that this process has started and not yet ended.

    One may be asked for before its attempt begins: a revoke can arrive between the bell and the start. Every method
    is a single step of the interpreter on the table, because a signal handler may interrupt any other."""

    def __init__(self) -> None:
        self._signals: dict[int, StopSignal] = {}

    def of(self, attempt_id: int) -> StopSignal:
        """The attempt's stop signal, made at first sight."""
        return self._signals.setdefault(attempt_id, StopSignal())

    def forget(self, attempt_id: int) -> None:
        """The attempt has ended; a later one never has the same id."""
        self._signals.pop(attempt_id, None)

    def request_all(self, reason: StopReason) -> None:
        """Stop whatever runs."""
        for stop in list(self._signals.values()):
            stop.request(reason)


STOPS = StopSignals()
"""Of this process: it owns one slot, so at most one attempt runs."""
