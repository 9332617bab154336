"""What flows to a client without end: events and growing logs, as server-sent events.

A stream reads in a worker thread, waits for a wake-up without a thread, and holds one batch in memory: a slow reader
is served later, not from a longer queue. Comments that keep the connection alive are FastAPI's.
"""

import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from anyio.to_thread import run_sync
from fastapi.sse import ServerSentEvent

from api.attempt_log import AttemptLog, LogDecoder
from api.context import Context
from api.documents.jobs import EventView
from orchestrator.jobs import queries
from orchestrator.model.states import ATTEMPT_TRANSITIONS, FINAL, JobState

BATCH = 200
"""Events read at once."""

PIECE = 64 * 1024
"""Bytes of log in one event: as JSON at most six times as much, below the 1 MiB that readers take."""

RETRY_MILLISECONDS = 1000


@dataclass(frozen=True)
class EventFilter:
    """Which events a stream shows; what is None or empty filters nothing."""

    jobs: Collection[int] = ()
    pipeline: int | None = None
    batch: int | None = None


async def events(
    context: Context, chosen: EventFilter, after: int | None, seconds: float | None
) -> AsyncIterator[ServerSentEvent]:
    """Settled events after number `after` (None: from now on), for `seconds` or until the server stops."""
    wakeups = context.wakeups
    deadline = time.monotonic() + (float("inf") if seconds is None else seconds)
    while after is None and not wakeups.stopped:
        turn = wakeups.turn()
        after = wakeups.head
        if after is None:
            await wakeups.wait(turn)
    # The first event has no data: it says that the stream is open, and where, for whoever has to resume.
    yield ServerSentEvent(id=str(after), retry=RETRY_MILLISECONDS)
    while not wakeups.stopped and time.monotonic() < deadline:
        turn = wakeups.turn()
        head = wakeups.head or 0
        batch = await run_sync(_read_events, context, chosen, after, head) if head > (after or 0) else []
        for event in batch:
            yield ServerSentEvent(id=str(event.id), data=event)
        after = batch[-1].id if len(batch) == BATCH else max(head, after or 0)
        if len(batch) < BATCH:
            await wakeups.wait(turn, deadline - time.monotonic())


def _read_events(context: Context, chosen: EventFilter, after: int | None, head: int) -> list[EventView]:
    with context.database.read() as session:
        found = queries.events(
            session, after=after or 0, until=head, limit=BATCH, jobs=chosen.jobs, pipeline=chosen.pipeline,
            batch=chosen.batch,
        )  # fmt: skip
        return [EventView.model_validate(event) for event in found]


@dataclass(frozen=True)
class LogPosition:
    """Which byte of which attempt's log comes next, written `2:4096`; attempt 0 is the latest there is."""

    attempt: int
    offset: int

    def __str__(self) -> str:
        return f"{self.attempt}:{self.offset}"


async def log(context: Context, job_id: int, start: LogPosition) -> AsyncIterator[ServerSentEvent]:
    """The log of a job from `start`, through all later attempts, until the job has ended and all is told."""
    follower = _LogFollower(context, job_id, start)
    yield ServerSentEvent(comment="open", retry=RETRY_MILLISECONDS)
    while not context.wakeups.stopped:
        turn = context.wakeups.turn()
        step = await run_sync(follower.step)
        for event in step.events:
            yield event
        if step.ended:
            return
        if not step.events:
            await context.wakeups.wait(turn)


@dataclass(frozen=True)
class _Step:
    events: tuple[ServerSentEvent, ...] = ()
    ended: bool = False


class _LogFollower:
    """One reader's place in the logs of a job's attempts."""

    def __init__(self, context: Context, job_id: int, start: LogPosition) -> None:
        self._context = context
        self._job_id = job_id
        self._position = start
        self._log: AttemptLog | None = None
        self._decoder = LogDecoder(start.offset)

    def step(self) -> _Step:
        """What can be told now: a piece, the next attempt, the end, or nothing yet."""
        # States first: an attempt that had ended before its log was read has nothing more to tell.
        with self._context.database.read() as session:
            state, attempts = queries.progress_of(session, self._job_id)
        current = next((entry for entry in attempts if entry.number == self._position.attempt), None)
        if current is None:
            return self._begin(state, attempts)
        over = not ATTEMPT_TRANSITIONS[current.state]
        self._log = self._log or AttemptLog(self._context.database, self._context.store, current.id)
        raw = self._log.read(self._decoder.read_to, PIECE)
        if not raw and (later := self._log.after_gap(self._decoder.read_to)) > self._decoder.read_to:
            self._decoder = LogDecoder(later)
            raw = self._log.read(later, PIECE)
        piece = self._decoder.feed(raw, final=over and not raw)
        self._position = LogPosition(current.number, piece.offset)
        if piece.text:
            return _Step((ServerSentEvent(id=str(self._position), data=self._told(text=piece.text)),))
        if raw or not over:
            return _Step()
        return self._begin(state, attempts)

    def _begin(self, state: JobState, attempts: list[queries.TriedAttempt]) -> _Step:
        """Go on to the next attempt, or end."""
        unknown = self._position.attempt == 0
        later = [entry for entry in attempts if entry.number > self._position.attempt]
        if later:
            chosen, offset = (later[-1], self._position.offset) if unknown else (later[0], 0)
            self._position, self._log, self._decoder = LogPosition(chosen.number, offset), None, LogDecoder(offset)
            return _Step((ServerSentEvent(event="attempt", id=str(self._position), data=self._told()),))
        if state in FINAL:
            told = self._told(state=state, bytes=self._position.offset)
            return _Step((ServerSentEvent(event="end", id=str(self._position), data=told),), ended=True)
        return _Step()

    def _told(self, **more: str | int) -> dict[str, str | int]:
        return {"attempt": self._position.attempt, "offset": self._position.offset, **more}
