"""The log of one attempt, read the same way while it is shipped (SQL) and after it is sealed (artifact store)."""

import codecs
from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.storage import live_logs
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.logs import SealedLogReader
from orchestrator.storage.tables import Attempt

MOST_TAIL_BYTES = 1 << 20
"""A progress bar may be one line of gigabytes."""


class AttemptLog:
    """Reads any part of an attempt's log, before, while and after it is sealed; used by one thread at a time."""

    def __init__(self, database: Database, store: ArtifactStore, attempt_id: int) -> None:
        self._database = database
        self._store = store
        self._attempt_id = attempt_id
        self._sealed: SealedLogReader | None = None

    def size(self) -> int:
        """Bytes that can be read now."""
        with self._database.read() as session:
            reader = self._reader(session)
            return reader.size if reader else live_logs.size(session, self._attempt_id)

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` bytes from `offset`; fewer where no more has arrived."""
        with self._database.read() as session:
            reader = self._reader(session)
            if reader is None:
                raw = live_logs.read(session, self._attempt_id, offset, length)
                # Nothing found may mean that it was sealed between the two statements (PostgreSQL): look again.
                if raw or (reader := self._reader(session)) is None:
                    return raw
        return reader.read(offset, length)

    def after_gap(self, offset: int) -> int:
        """Where to read on if nothing is at `offset` because a flood was thinned; `offset` if nothing came after it."""
        with self._database.read() as session:
            if self._reader(session) is not None:
                return offset
            return live_logs.after_gap(session, self._attempt_id, offset)

    def lines(self) -> int:
        """Lines that can be read now; what follows the last newline, if anything does, is a line too."""
        with self._database.read() as session:
            reader = self._reader(session)
            if reader is not None:
                return reader.lines
            size, newlines = live_logs.size(session, self._attempt_id), live_logs.newlines(session, self._attempt_id)
        return newlines + (size > 0 and self.read(size - 1, 1) != b"\n")

    def offset_of_line(self, number: int) -> int:
        """Where line `number` begins, counting from 0; the size of the log for a line that is not there.

        Of a running attempt's log those lines are counted that arrived: a flood is thinned until the log is sealed."""
        with self._database.read() as session:
            reader = self._reader(session)
            return (
                reader.offset_of_line(number) if reader else live_logs.offset_of_line(session, self._attempt_id, number)
            )

    def pieces(self, start: int, end: int, length: int) -> Iterator[tuple[int, bytes]]:
        """What there is from `start` up to `end`, each piece of at most `length` bytes with its offset."""
        while start < end:
            raw = self.read(start, min(length, end - start))
            if raw:
                yield start, raw
                start += len(raw)
            elif (later := self.after_gap(start)) > start:
                start = later
            else:
                return

    def tail(self, lines: int) -> tuple[int, bytes]:
        """The last lines, at most 1 MiB of them, and the offset at which they begin."""
        end = self.size()
        start = max(end - MOST_TAIL_BYTES, 0)
        raw = self.read(start, end - start)
        while start + len(raw) < end and (later := self.after_gap(start + len(raw))) > start + len(raw):
            start = later
            raw = self.read(start, end - start)
        skipped = start_of_last_lines(raw, lines)
        return start + skipped, raw[skipped:]

    def _reader(self, session: Session) -> SealedLogReader | None:
        if self._sealed is None:
            digest = session.scalar(select(Attempt.log_digest).where(Attempt.id == self._attempt_id))
            if digest is not None:
                self._sealed = SealedLogReader(self._store.path(digest))
        return self._sealed


def start_of_last_lines(raw: bytes, lines: int) -> int:
    """Where the last `lines` lines of `raw` begin; a newline at the very end ends a line and begins none."""
    position = len(raw) - 1 if raw.endswith(b"\n") else len(raw)
    for _ in range(lines):
        position = raw.rfind(b"\n", 0, position)
        if position < 0:
            return 0
    return position + 1 if lines else len(raw)


@dataclass(frozen=True)
class Piece:
    """Text of a log, and the byte offset after it."""

    text: str
    offset: int


class LogDecoder:
    """Bytes to text without splitting a character; bytes that are no UTF-8 become U+FFFD."""

    def __init__(self, offset: int) -> None:
        self._read_to = offset
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    @property
    def read_to(self) -> int:
        """The offset from which to read on."""
        return self._read_to

    def feed(self, raw: bytes, *, final: bool = False) -> Piece:
        """The text of `raw` up to its last whole character; `final` gives up waiting for the rest of that one.

        The piece's offset is that of the first byte not sent yet, so that a client that resumes there misses nothing.
        """
        self._read_to += len(raw)
        text = self._decoder.decode(raw, final)
        held_back, _ = self._decoder.getstate()
        return Piece(text, self._read_to - len(held_back))
