"""The log of a job as it grows, through all its attempts."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from anyio.to_thread import run_sync
from fastapi.sse import ServerSentEvent

from api.streams.wakeups import RETRY_MILLISECONDS, WakeUps
from orchestrator.jobs import queries
from orchestrator.model.states import ATTEMPT_TRANSITIONS, FINAL, JobState
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.attempt_logs import AttemptLog, LogDecoder
from orchestrator.storage.database import Database

PIECE = 64 * 1024
"""Bytes of log in one event: as JSON at most six times as much, below the 1 MiB that readers take."""


@dataclass(frozen=True)
class LogPosition:
    """Which byte of which attempt's log comes next, written `2:4096`; attempt 0 is the latest there is."""

    attempt: int
    offset: int

    def __str__(self) -> str:
        return f"{self.attempt}:{self.offset}"


async def log(
    database: Database, store: ArtifactStore, wakeups: WakeUps, job_id: int, start: LogPosition
) -> AsyncIterator[ServerSentEvent]:
    """The log of a job from `start`, through all later attempts, until the job has ended and everything is sent."""
    follower = _LogFollower(database, store, job_id, start)
    yield ServerSentEvent(comment="open", retry=RETRY_MILLISECONDS)
    while not wakeups.stopped:
        turn = wakeups.turn()
        step = await run_sync(follower.step)
        for event in step.events:
            yield event
        if step.ended:
            return
        if not step.events:
            await wakeups.wait(turn)


@dataclass(frozen=True)
class _Step:
    events: tuple[ServerSentEvent, ...] = ()
    ended: bool = False


class _LogFollower:
    """One reader's place in the logs of a job's attempts."""

    def __init__(self, database: Database, store: ArtifactStore, job_id: int, start: LogPosition) -> None:
        self._database = database
        self._store = store
        self._job_id = job_id
        self._position = start
        self._log: AttemptLog | None = None
        self._decoder = LogDecoder(start.offset)

    def step(self) -> _Step:
        """What can be sent now: a piece, the next attempt, the end, or nothing yet."""
        # States first: an attempt that had ended before its log was read has nothing more to tell.
        with self._database.read() as session:
            state, attempts = queries.progress_of(session, self._job_id)
        current = next((entry for entry in attempts if entry.number == self._position.attempt), None)
        if current is None:
            return self._begin(state, attempts)
        over = not ATTEMPT_TRANSITIONS[current.state]
        self._log = self._log or AttemptLog(self._database, self._store, current.id)
        raw = self._log.read(self._decoder.read_to, PIECE)
        if not raw and (later := self._log.after_gap(self._decoder.read_to)) > self._decoder.read_to:
            self._decoder = LogDecoder(later)
            raw = self._log.read(later, PIECE)
        piece = self._decoder.feed(raw, final=over and not raw)
        self._position = LogPosition(current.number, piece.offset)
        if piece.text:
            return _Step((ServerSentEvent(id=str(self._position), data=self._document(text=piece.text)),))
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
            return _Step((ServerSentEvent(event="attempt", id=str(self._position), data=self._document()),))
        if state in FINAL:
            told = self._document(state=state, bytes=self._position.offset)
            return _Step((ServerSentEvent(event="end", id=str(self._position), data=told),), ended=True)
        return _Step()

    def _document(self, **more: str | int) -> dict[str, str | int]:
        return {"attempt": self._position.attempt, "offset": self._position.offset, **more}
