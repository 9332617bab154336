"""The log of a running attempt, copied into SQL as it grows, for everyone who watches from elsewhere.

The tool writes its file itself and never waits for this process. The live view is shipped here; when the attempt ends,
the whole file is sealed. A tool that floods its log gets a thinned live view, marked where bytes are left out.
"""

import logging
import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from math import isinf
from pathlib import Path

from orchestrator.jobs import ownership
from orchestrator.jobs.ownership import Owner
from orchestrator.model.patterns import steps
from orchestrator.storage import live_logs
from orchestrator.storage.database import Database
from workers.processes.threads import Later

log = logging.getLogger(__name__)

_EVERY = 1.0
"""Seconds between two shipments of a log that grows slowly."""

_BRIEF = 0.2
"""Seconds before the first: what a shorter run prints is sealed right after it."""

_SHIPMENT = 16 * live_logs.MAX_CHUNK_BYTES
"""Bytes shipped in one transaction."""

_BACKLOG = 4 * _SHIPMENT
"""Bytes that may wait before the live view is thinned."""

_LINE_END = re.compile(rb"[\r\n]")
_MOST_LINES, _LONGEST_LINE = 1000, 512
"""Largest part of a shipment, and of a line in it, that is searched for progress, in bytes: a pattern must not delay
the worker."""


class LogShipper:
    """Ships one log; bytes written after the last shipment of `following` are shipped by `flush`."""

    def __init__(self, database: Database, attempt_id: int, path: Path, *, owner: Owner) -> None:
        self._database = database
        self._attempt_id = attempt_id
        self._path = path
        self._owner = owner
        self._progress: re.Pattern[bytes] | None = None
        self._shipped = 0
        self._wake = threading.Event()
        self._ended = False

    @contextmanager
    def following(self, progress: str | None) -> Iterator[None]:
        """Ship it as it grows while the block lasts; matches of the pattern `progress` are stored as progress."""
        # A profile may have been registered before patterns were checked.
        usable = progress is not None and not isinf(steps(progress, ""))
        self._progress = re.compile(progress.encode()) if usable and progress else None
        thread = Later(_BRIEF, self._follow)
        try:
            yield
        finally:
            self._ended = True
            self._wake.set()
            thread.call_off()

    def grown(self, size: int) -> None:
        """Report the present size of the log; it is shipped at once if a chunk is full."""
        if size - self._shipped >= live_logs.MAX_CHUNK_BYTES:
            self._wake.set()

    def flush(self) -> None:
        """Ship the rest, after the block has ended."""
        while self._ship():
            pass

    def _follow(self) -> None:
        while True:
            self._wake.wait(_EVERY)
            self._wake.clear()
            if self._ended:
                return
            try:
                self._ship()
            except Exception:
                # The file has everything; the next shipment includes it.
                log.warning("log not shipped", exc_info=True, extra={"attempt": self._attempt_id})
                threading.Event().wait(_EVERY)

    def _ship(self) -> bool:
        """One transaction; False if there is nothing to ship."""
        if not self._path.exists():
            return False
        with self._path.open("rb") as opened:
            size = os.fstat(opened.fileno()).st_size
            skipped, start = self._thinned(size)
            opened.seek(start)
            raw = opened.read(_SHIPMENT)
        if not raw:
            return False
        at = datetime.now(UTC)
        with self._database.write() as session:
            live_logs.append(session, self._attempt_id, self._shipped, skipped, at)
            for offset in range(0, len(raw), live_logs.MAX_CHUNK_BYTES):
                piece = raw[offset : offset + live_logs.MAX_CHUNK_BYTES]
                live_logs.append(session, self._attempt_id, start + offset, piece, at)
            if (progress := self._progress_in(raw)) is not None:
                ownership.note_progress(session, self._attempt_id, progress, owner=self._owner)
        self._shipped = start + len(raw)
        return True

    def _thinned(self, size: int) -> tuple[bytes, int]:
        """A marker that replaces the first omitted bytes of a flood, and the offset at which to continue."""
        if size - self._shipped <= _BACKLOG:
            return b"", self._shipped
        start = size - _SHIPMENT
        return f"\n[tx81] {start - self._shipped} bytes are left out of the live view\n".encode(), start

    def _progress_in(self, raw: bytes) -> dict[str, int] | None:
        if self._progress is None:
            return None
        found = None
        for line in reversed(_LINE_END.split(raw)[-_MOST_LINES:]):
            matches = list(self._progress.finditer(line[:_LONGEST_LINE]))
            if matches:
                found = matches[-1]
                break
        if found is None:
            return None
        told = {name: found.groupdict().get(name) for name in ("done", "total")}
        return {name: int(value) for name, value in told.items() if value is not None and value.isdigit()} or None
