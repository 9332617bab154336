"""How fast a server answers streamed requests of this process: time to first text, time per text. Pure.

A server sends one event for each token, or for a few; what is measured here is what a person who reads along sees. The
measurements of a load come from its client, which counts tokens.
"""

import re
import statistics
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

KEPT = 100
"""Latest requests of a server that count."""

_TEXT = re.compile(rb'"(?:content|text)"\s*:\s*"[^"]')
"""An event with a text that is not empty."""


@dataclass(frozen=True)
class PaceSoFar:
    """Of the latest streamed requests; seconds."""

    requests: int
    ttft: float
    """Median time to the first text."""
    ttft_most: float
    tpot: float | None
    """Median time between two texts; None if no answer had two."""


@dataclass
class Pace:
    """The latest streamed requests of one server."""

    _seen: deque[tuple[float, float | None]] = field(default_factory=lambda: deque(maxlen=KEPT))

    def so_far(self) -> PaceSoFar | None:
        """None before the first text; may be called from any thread."""
        seen = list(self._seen)
        if not seen:
            return None
        firsts, gaps = [first for first, _ in seen], [gap for _, gap in seen if gap is not None]
        return PaceSoFar(
            len(seen), statistics.median(firsts), max(firsts), statistics.median(gaps) if gaps else None
        )  # fmt: skip

    def note(self, first: float, gap: float | None) -> None:
        """Count one answer."""
        self._seen.append((first, gap))


class Reading:
    """One streamed answer, heard piece by piece."""

    def __init__(self, pace: Pace, clock: Callable[[], float]) -> None:
        self._pace = pace
        self._clock = clock
        self._asked = clock()
        self._first: float | None = None
        self._last = self._asked
        self._texts = 0

    def hear(self, piece: bytes) -> None:
        """Some whole events."""
        texts = len(_TEXT.findall(piece))
        if texts:
            self._last = self._clock()
            self._first = self._last if self._first is None else self._first
            self._texts += texts

    def end(self) -> None:
        """Nothing more comes; an answer without a text does not count."""
        if self._first is not None:
            gap = (self._last - self._first) / (self._texts - 1) if self._texts > 1 else None
            self._pace.note(self._first - self._asked, gap)
