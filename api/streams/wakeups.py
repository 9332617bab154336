"""Wakes every event stream of this process when something was committed, from one thread with one watch.

It also keeps the *settled head*: the event number up to which nothing can appear any more. On PostgreSQL numbers are
given when a row is inserted and rows are seen when they are committed, so number 6 may be seen before number 5; a
stream that had gone on from 6 would lose 5. A number is settled once every transaction that was running when it was
first seen has ended: whatever has a smaller number is visible by then, or was rolled back. Streams read settled events
only, so they see all of them, in order. On SQLite writers queue, so whatever is seen is settled.
"""

import asyncio
import logging
import threading
from contextlib import closing, suppress
from dataclasses import dataclass

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session

from orchestrator.storage.database import CommitWatch, Database
from orchestrator.storage.tables import Event

log = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
"""Streams look again after this even if no wake-up came."""

UNSETTLED_SECONDS = 0.05
"""How soon to look again for the end of a transaction that holds the head back: a rollback wakes no process."""

RETRY_MILLISECONDS = 1000
"""After which a client connects again."""

GATHER_SECONDS = 0.02
"""Commits within this time wake the streams once: a flood of log lines must not mean a flood of reads."""

_NEWEST = select(func.max(Event.id))
"""Built once: it is asked after every commit of any process."""


@dataclass(frozen=True)
class _Seen:
    head: int
    running_below: int
    """Every transaction that may still show a smaller event number is numbered below this."""


class SettledHead:
    """Finds the event number up to which nothing can appear any more; asked by one thread."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: _Seen | None = None
        self.value: int | None = None
        """None until the first look."""

    @property
    def unsettled(self) -> bool:
        """Whether events were seen that a running transaction holds back."""
        return self._seen is not None

    def advance(self) -> None:
        """Look once, and move as far as is settled."""
        with self._database.read() as session:
            if self._database.is_sqlite:
                self.value = _newest(session)
            else:
                self._advance_behind_transactions(session)

    def _advance_behind_transactions(self, session: Session) -> None:
        # READ COMMITTED: each statement sees what was committed before it began. The order of the three matters.
        if self._seen is None:
            newest = _newest(session)
            if newest == self.value:
                return
            self._seen = _Seen(newest, _number(session, "pg_snapshot_xmax"))
        if _number(session, "pg_snapshot_xmin") >= self._seen.running_below:
            self.value, self._seen = self._seen.head, None


class WakeUps:
    """`start` and `stop` belong to the application's life; in between, streams wait for `turn`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._head = SettledHead(database)
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turn: asyncio.Event | None = None
        self._stopping = threading.Event()
        self._listening: CommitWatch | None = None

    @property
    def head(self) -> int | None:
        """The settled head as of the last look; None before the first."""
        return self._head.value

    @property
    def stopped(self) -> bool:
        """Streams end when this is true."""
        return self._stopping.is_set()

    def start(self) -> None:
        """Begin to watch; call it in the event loop that the streams run in."""
        self._loop = asyncio.get_running_loop()
        self._turn = asyncio.Event()
        self._thread = threading.Thread(target=self._watch, name="commit-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let every stream end; safe to call twice, and from any thread."""
        self._stopping.set()
        if self._listening is not None:
            self._listening.wake()
        self._notify()

    def join(self) -> None:
        """Wait for the thread to have given its connections back."""
        if self._thread is not None:
            self._thread.join()

    def turn(self) -> asyncio.Event:
        """Set at the next wake-up. Take it *before* reading: then nothing falls between the read and the wait."""
        assert self._turn is not None, "the application has not been started"
        return self._turn

    async def wait(self, turn: asyncio.Event, seconds: float = IDLE_SECONDS) -> None:
        """Until `turn` comes, at most for a second."""
        with suppress(TimeoutError):
            await asyncio.wait_for(turn.wait(), max(0.0, min(seconds, IDLE_SECONDS)))

    def _watch(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except Exception:  # the one thread that all streams hang on must outlive a database that is away
                log.warning("the database cannot be used", exc_info=True)
                self._stopping.wait(IDLE_SECONDS)

    def _listen(self) -> None:
        with closing(self._database.watch()) as watch:
            # Before `_stopping` is read: `stop` sets that first, and then wakes the watch that is stored here.
            self._listening = watch
            while not self._stopping.is_set():
                self._head.advance()
                self._notify()
                watch.wait(UNSETTLED_SECONDS if self._head.unsettled else IDLE_SECONDS)
                self._stopping.wait(GATHER_SECONDS)

    def _notify(self) -> None:
        if self._loop is not None:
            with suppress(RuntimeError):  # the loop is closed: there are no streams any more
                self._loop.call_soon_threadsafe(self._next_turn)

    def _next_turn(self) -> None:
        turn, self._turn = self._turn, asyncio.Event()
        if turn is not None:
            turn.set()


def _newest(session: Session) -> int:
    return session.scalar(_NEWEST) or 0


def _number(session: Session, of: str) -> int:
    return int(session.execute(text(f"SELECT {of}(pg_current_snapshot())::text")).scalar_one())
