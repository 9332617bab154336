"""The two kinds of load: a fixed number of requests in flight, or each at its own time, independent of the others."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Sequence

from orchestrator.model.client_specs import Load
from workers.load.arrivals import Ask, asks, poisson
from workers.load.book import Book
from workers.load.conversation import Conversation
from workers.load.replies import ServerGone, Unanswered

MOST_UNDER_WAY = 900
"""Requests of an open loop; a further one that is due fails. A process has about a thousand files."""

_SAY_EVERY = 0.5
_SAID_OF_A_SORT = 5
"""Failures that are reported one by one; the others are counted."""


class Driving:
    """One load on one server, from warm-up to its last answer; `ServerGone` and a full disk end it at once."""

    def __init__(self, asking: Conversation, prompts: Sequence[str], load: Load, book: Book, *, repeats: int) -> None:
        self._asking = asking
        self._prompts = prompts
        self._load = load
        self._book = book
        self.total = load.total(len(prompts), repeats)
        self.done = 0
        self._under_way = 0
        self._said_at = 0.0
        self._told: Counter[str] = Counter()

    async def through(self) -> None:
        """Ask everything."""
        await self._warm_up()
        todo = asks(len(self._prompts), self.total, seed=self._load.seed if self._load.shuffle else None)
        self._book.start(time.perf_counter())
        try:
            if self._load.rate is None:
                await self._closed(todo, self._load.concurrency or 1)
            else:
                await self._open(todo, self._load.rate)
        except* (ServerGone, OSError) as ends:
            raise _first(ends) from None

    async def _warm_up(self) -> None:
        for ask in asks(len(self._prompts), self._load.warmup):
            try:
                await self._asking.ask(self._prompts[ask.index])
            except Unanswered as why:
                self._tell(f"warm-up {ask.number + 1}", why)

    async def _closed(self, todo: Iterator[Ask], lanes: int) -> None:
        async def lane() -> None:
            for ask in todo:
                await self._one(ask, None)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(lanes, self.total)):
                group.create_task(lane())

    async def _open(self, todo: Iterator[Ask], rate: float) -> None:
        """Send each request when it is due. Nothing here waits for an answer: a slow server must not slow the load."""
        began = time.perf_counter()
        async with asyncio.TaskGroup() as group:
            for ask, offset in zip(todo, poisson(rate, seed=self._load.seed), strict=False):
                due = began + offset
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                if self._under_way < MOST_UNDER_WAY:
                    self._under_way += 1
                    group.create_task(self._sent(ask, due))
                else:
                    self._lost(ask, Unanswered("not_sent", f"{MOST_UNDER_WAY} requests were in flight"), due)

    async def _one(self, ask: Ask, due: float | None) -> None:
        self._under_way += 1
        await self._sent(ask, due)

    async def _sent(self, ask: Ask, due: float | None) -> None:
        question = self._prompts[ask.index]
        self._book.statistics.sent(time.perf_counter(), under_way=self._under_way)
        try:
            heard = await self._asking.ask(question)
        except Unanswered as why:
            self._lost(ask, why, due)
        else:
            self._book.heard(ask, question, heard, due)
            self._count()
        finally:
            self._under_way -= 1

    def _lost(self, ask: Ask, why: Unanswered, due: float | None) -> None:
        self._book.lost(ask, why, due, time.perf_counter())
        self._tell(f"number {ask.number + 1}", why)
        self._count()

    def _tell(self, which: str, why: Unanswered) -> None:
        self._told[why.sort] += 1
        if self._told[why.sort] <= _SAID_OF_A_SORT:
            more = "; further ones are only counted" if self._told[why.sort] == _SAID_OF_A_SORT else ""
            print(f"{which} failed: {why.sort}: {why}{more}", flush=True)

    def _count(self) -> None:
        self.done += 1
        now = time.perf_counter()
        if self.done == self.total or now >= self._said_at + _SAY_EVERY:
            self._said_at = now
            failed = self._book.failed.total()
            print(f"request {self.done}/{self.total}, {failed} failed, {self._under_way} in flight", flush=True)


def _first(group: BaseExceptionGroup[ServerGone | OSError]) -> ServerGone | OSError:
    inner = group.exceptions[0]
    return _first(inner) if isinstance(inner, BaseExceptionGroup) else inner
