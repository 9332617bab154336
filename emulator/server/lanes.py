"""The server's card groups as lanes: one request in each, the others in one queue, first come first served.

A lane's session and cards are used only by its holder. The lane that was idle longest is taken next, so that all
groups get work.
"""

import threading
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

from emulator.cards.group import CardGroup
from emulator.engine.kcore import Generation, Session, generate
from emulator.runs.answers import RunLog

_GLANCE = 0.5
"""Seconds between two looks at whether a client in the queue is still there."""


class QueueFull(Exception):
    """As many requests wait as may wait."""


class Closing(Exception):
    """The server is going down and starts nothing new."""


class ClientGone(Exception):
    """Nobody is there any more to read the answer."""


@dataclass
class Lane:
    """One card group that this process holds, with the model's memory on it."""

    number: int
    cards: CardGroup
    session: Session
    log: RunLog

    def answer(
        self,
        prompt: Sequence[int],
        *,
        room: int,
        ends: Collection[int],
        stop: threading.Event,
        each: Callable[[int], bool],
    ) -> Generation:
        """Decode as an offline run does, faults included."""
        strike = partial(self.cards.strike, stop)
        return generate(self.session, prompt, room=room, ends=ends, stop=stop, strike=strike, each=each)


@dataclass(eq=False)
class Place:
    """A place in the queue, and the lane that was found for it."""

    lane: Lane | None = None


class Lanes:
    """Hands the lanes out in the order in which they were asked for."""

    def __init__(self, *, queue_limit: int) -> None:
        self._free: deque[Lane] = deque()
        self.waiting: deque[Place] = deque()
        """Who waits, first come first."""
        self._limit = queue_limit
        self._turn = threading.Condition()
        self._closing = False

    def add(self, lane: Lane) -> None:
        """One more lane that is free."""
        with self._turn:
            self._free.append(lane)

    @contextmanager
    def taken(self, is_gone: Callable[[], bool]) -> Iterator[Lane]:
        """A lane for as long as the block runs; who finds no room in the queue is `QueueFull`."""
        lane = self._take(is_gone)
        try:
            yield lane
        finally:
            self._give_back(lane)

    def _take(self, is_gone: Callable[[], bool]) -> Lane:
        with self._turn:
            if self._closing:
                raise Closing
            if self._free:
                return self._free.popleft()
            if len(self.waiting) >= self._limit:
                raise QueueFull
            mine = Place()
            self.waiting.append(mine)
            while mine.lane is None:
                self._turn.wait(_GLANCE)
                if mine.lane is None and (self._closing or is_gone()):
                    self.waiting.remove(mine)
                    raise Closing if self._closing else ClientGone
            return mine.lane

    def _give_back(self, lane: Lane) -> None:
        with self._turn:
            if self.waiting and not self._closing:
                self.waiting.popleft().lane = lane
            else:
                self._free.append(lane)
            self._turn.notify_all()

    def close(self) -> None:
        """Start nothing new; who waits is told `Closing`."""
        with self._turn:
            self._closing = True
            self._turn.notify_all()
