"""Ends of attempts after which nobody has looked at the cards yet: the shim has seen their whole tree go, and a look
that is shared by the host follows within `WITHIN`.

Kept for one slot by its worker; the threads of that process share it.
"""

import math
import threading
from dataclasses import dataclass

from orchestrator.model.failures import Suspicion
from workers.host.probe import Probe

WITHIN = 0.1
"""Seconds after the end of an attempt within which a look at its cards begins."""


@dataclass(frozen=True)
class _End:
    attempt_id: int
    gone_at: float
    probe: Probe
    """How its cards are looked at."""


@dataclass(frozen=True)
class _Found:
    suspicion: Suspicion
    at: float


class UnprovenEnds:
    """Ends without a look, and what a look has found. All times are of the monotonic clock."""

    def __init__(self) -> None:
        self._lock = threading.Condition()
        self._closed = False
        self._ends: list[_End] = []
        self._newest = -math.inf
        self._found: _Found | None = None
        self._followed = False

    def add(self, attempt_id: int, probe: Probe, *, gone_at: float) -> bool:
        """An attempt has ended, its tree was gone at `gone_at`; True if the caller has to see to it that it is proven,
        because nobody follows yet."""
        with self._lock:
            self._ends.append(_End(attempt_id, gone_at, probe))
            self._newest = max(self._newest, gone_at)
            followed, self._followed = self._followed, True
            return not followed

    def oldest(self) -> tuple[float, Probe] | None:
        """When the first of them was gone, and how to look; None if there is none, and then nobody follows any more."""
        with self._lock:
            self._followed = bool(self._ends) and not self._closed
            return (self._ends[0].gone_at, self._ends[0].probe) if self._followed else None

    def close(self, patience: float) -> None:
        """Wait until they are proven, at most so many seconds: the worker gives its slot back."""
        with self._lock:
            self._lock.wait_for(lambda: not self._ends, patience)
            self._closed = True

    def proven(self, probe: Probe, *, began: float) -> None:
        """Such a look, which began then, has shown that the cards are free."""
        with self._lock:
            self._keep([one for one in self._ends if one.gone_at > began or one.probe != probe])

    def attempts(self) -> list[int]:
        """Those that are not proven."""
        with self._lock:
            return [one.attempt_id for one in self._ends]

    def suspect(self, suspicion: Suspicion, marked: list[int], *, at: float) -> None:
        """A look has shown that the cards are not free, and these attempts were told so."""
        with self._lock:
            self._found = _Found(suspicion, at)
            self._keep([one for one in self._ends if one.attempt_id not in marked])

    def suspicion_since(self, moment: float) -> Suspicion | None:
        """What was found since then."""
        with self._lock:
            return self._found.suspicion if self._found is not None and self._found.at >= moment else None

    def look_since(self, moment: float, *, after_last_end: bool) -> float:
        """How early a look may have begun that is to count for a start: not before `moment`, nor before something was
        found."""
        with self._lock:
            found_at = -math.inf if self._found is None else self._found.at
            return max(moment, found_at, self._newest if after_last_end else -math.inf)

    def _keep(self, ends: list[_End]) -> None:
        self._ends = ends
        self._lock.notify_all()
