"""SQL sessions, the database's clock, and "something was committed".

Works the same on SQLite (WAL; every write starts with BEGIN IMMEDIATE, so that two writers queue instead of failing
half-way) and PostgreSQL. Sessions are synchronous everywhere; nothing else in the product opens one.
"""

import os
import select
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import psycopg
from sqlalchemy import (
    Connection,
    CursorResult,
    Engine,
    Executable,
    create_engine,
    event,
    make_url,
    text,
)
from sqlalchemy.engine import URL
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.orm import Session

from orchestrator.clock import as_utc
from orchestrator.storage.folder_events import FolderEvents

CHANNEL = "tx81_committed"
_COMMIT = f"SELECT pg_notify('{CHANNEL}', '') WHERE pg_current_xact_id_if_assigned() IS NOT NULL; COMMIT"
"""One round trip to PostgreSQL: watching processes are woken if something was written."""
_POSTGRES_CLOCK = text("SELECT clock_timestamp()")
_SOON = 0.001
"""Seconds between two reads of SQLite's version while a commit is in progress."""

SQLITE_BUSY_SECONDS = 30
"""How long a writer waits for another; writes are short, so this is only reached when a process is stuck."""
POSTGRES_PAUSE_SECONDS = 15
"""After this the server ends the transaction of a process that was stopped in it, and gives its locks to the others."""

ADMISSION = "admission"
"""The lock under which jobs are admitted, placed and ordered."""


class CommitWatch(Protocol):
    """Wakes one thread when some process has committed; false alarms are possible, missed commits are not."""

    def wait(self, timeout: float) -> bool:
        """Block until something was committed since the last call, at most `timeout` seconds; False on time-out."""
        ...

    def wake(self) -> None:
        """Make `wait` return at once, now and whenever it is called; from any thread, also after `close`."""
        ...

    def close(self) -> None:
        """Give the connection back."""
        ...


class Database:
    """One SQL database, opened by URL (`sqlite:///…` or `postgresql+psycopg://…`)."""

    def __init__(self, url: str) -> None:
        self.url: URL = make_url(url)
        if self.url.drivername in ("postgresql", "postgres"):
            self.url = self.url.set(drivername="postgresql+psycopg")
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self._engine = _sqlite_engine(self.url) if self.is_sqlite else _postgres_engine(self.url)
        self._writing = self._engine.execution_options(write=True)
        # PostgreSQL reads what is committed when a statement begins, in a transaction or not.
        alone: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "AUTOCOMMIT"}
        self._reading = self._engine.execution_options(**alone)

    @property
    def engine(self) -> Engine:
        """For migrations and tests; everything else takes `read` or `write`."""
        return self._engine

    @contextmanager
    def read(self) -> Iterator[Session]:
        """A session that changes nothing. On SQLite it sees one state, on PostgreSQL each statement sees the latest."""
        with Session(self._reading, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: committed at the end, rolled back if the block raises. Waiting watches are woken."""
        with Session(self._writing, expire_on_commit=False) as session:
            yield session
            session.flush()
            if not self.is_sqlite and session.in_transaction():
                session.connection().exec_driver_sql(_COMMIT)
            session.commit()

    def now(self, session: Session) -> datetime:
        """The database's time of day: the one clock that all processes compare leases by.

        SQLite runs in this process, so its clock is this process's own."""
        if self.is_sqlite:
            # A transaction that has yet to begin may wait for a long time, and the time would be from before that.
            session.connection()
            return datetime.now(UTC)
        moment: datetime = session.execute(_POSTGRES_CLOCK).scalar_one()
        return as_utc(moment)

    @contextmanager
    def admission(self) -> Iterator[tuple[Session, datetime]]:
        """A transaction, and its time, in which no other process admits, places or orders (the admission lock)."""
        with self.write() as session:
            self.serialise(session, ADMISSION)
            yield session, self.now(session)

    def serialise(self, session: Session, what: str) -> None:
        """Let only one transaction at a time do `what`; on SQLite every write is alone anyway."""
        if not self.is_sqlite:
            session.execute(text("SELECT pg_advisory_xact_lock(hashtext(:what))"), {"what": what})

    def watch(self) -> CommitWatch:
        """A new watch for the calling thread."""
        return _SqliteWatch(self._engine) if self.is_sqlite else _PostgresWatch(self.url)

    def close(self) -> None:
        """Close every pooled connection."""
        self._engine.dispose()


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(url, connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", "temp_store=MEMORY"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writing = connection.get_execution_options().get("write")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")

    return engine


def _postgres_engine(url: URL) -> Engine:
    engine = create_engine(url)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        connection.execute(f"SET idle_in_transaction_session_timeout = '{POSTGRES_PAUSE_SECONDS}s'")
        connection.commit()

    @event.listens_for(engine, "checkout")
    def _still_there(connection: psycopg.Connection[Any], _record: Any, _proxy: Any) -> None:
        """A server only sends unasked data when it closes the connection, so the check needs no round trip."""
        heard = select.poll()
        heard.register(connection.fileno(), select.POLLIN)
        if heard.poll(0):
            raise DisconnectionError("the server has closed the connection, or sent something unexpected")

    return engine


class _Woken:
    """A flag that another thread sets and a poll sees: true once `set`, for good. `set` may come after `close`."""

    def __init__(self) -> None:
        self.fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._set = False
        self._closing = threading.Lock()

    def set(self) -> None:
        self._set = True
        with self._closing:
            if self.fd >= 0:
                os.eventfd_write(self.fd, 1)

    def __bool__(self) -> bool:
        return self._set

    def wait(self, seconds: float) -> None:
        heard = select.poll()
        heard.register(self.fd, select.POLLIN)
        heard.poll(seconds * 1000)

    def close(self) -> None:
        with self._closing:
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1


class _SqliteWatch:
    """Reads the version of the data when a file next to the database was written to.

    The write comes a moment before the commit can be seen, so it is asked for again soon, then ever more rarely."""

    def __init__(self, engine: Engine) -> None:
        self._connection = engine.raw_connection()
        self._folder = Path(engine.url.database or "").absolute().parent
        self._events: FolderEvents | None = None
        self._woken = _Woken()
        self._seen = self._version()

    def _version(self) -> int:
        cursor = self._connection.cursor()
        return int(cursor.execute("PRAGMA data_version").fetchone()[0])

    def wait(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        patience = _SOON
        while True:
            version = self._version()
            if version != self._seen or self._woken:
                self._seen = version
                return True
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            patience = _SOON if self._written(min(patience, left)) else 2 * patience

    def _written(self, within: float) -> bool:
        """Whether there is reason to ask again soon; where the kernel gives no notice, always."""
        try:
            # Only now: most watches are never waited for.
            self._events = self._events or FolderEvents(self._folder, also=self._woken.fd)
        except OSError:
            time.sleep(min(within, _SOON))
            return True
        return self._events.wait(within)

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        if self._events is not None:
            self._events.close()
        self._woken.close()
        self._connection.close()


class _PostgresWatch:
    """Listens on its own connection; after a broken connection it says "something may have happened"."""

    def __init__(self, url: URL) -> None:
        # As SQLAlchemy connects: libpq reads a URL by other rules, of blanks and plus signs for instance.
        self._arguments, self._options = url.get_dialect()().create_connect_args(url)
        self._connection: psycopg.Connection[Any] | None = None
        self._woken = _Woken()
        with suppress(psycopg.OperationalError):  # `wait` tries again, and says then that something may have happened
            self._listen()

    def _listen(self) -> None:
        self._connection = psycopg.connect(*self._arguments, **self._options, autocommit=True)
        self._connection.execute(f"LISTEN {CHANNEL}")

    def wait(self, timeout: float) -> bool:
        try:
            if self._connection is None:
                self._listen()
                return True
            heard = select.poll()
            heard.register(self._connection.fileno(), select.POLLIN)
            heard.register(self._woken.fd, select.POLLIN)
            heard.poll(timeout * 1000)
            notified = sum(1 for _ in self._connection.notifies(timeout=0))
            return notified > 0 or bool(self._woken)
        except psycopg.OperationalError:
            self._disconnect()
            self._woken.wait(min(timeout, 1.0))
            return True

    def wake(self) -> None:
        self._woken.set()

    def close(self) -> None:
        self._disconnect()
        self._woken.close()

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def run(session: Session, statement: Executable, **values: Any) -> CursorResult[Any]:
    """Run one of the statements, after all that the session has yet to write."""
    return _run(session, statement, values)


def run_for(session: Session, statement: Executable, rows: Sequence[dict[str, Any]]) -> None:
    """Run one of the statements for each of these rows, in one go; not at all without any."""
    if rows:
        _run(session, statement, rows)


def _run(session: Session, statement: Executable, values: Any) -> CursorResult[Any]:
    session.flush()
    # By the connection: to find out that there are no objects in it takes a session longer than SQLite to run it.
    return session.connection().execute(statement, values)
