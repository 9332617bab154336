"""Renews the lease of a running attempt, and stops the attempt when it no longer belongs to this worker.

Two threads: one uses the database: it renews the lease and reads a request to cancel; the other only watches the clock,
so that the process tree is killed in time even if the first hangs in a dead network.
"""

import logging
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import timedelta
from typing import Self

from orchestrator.errors import OwnershipLost
from orchestrator.jobs import lifecycle, ownership
from orchestrator.jobs.ownership import Owner, Requests
from orchestrator.jobs.used_endpoints import note_use
from orchestrator.settings import Settings
from orchestrator.storage.database import CommitWatch, Database
from workers.processes.process import StopReason, StopSignal
from workers.processes.threads import Later

log = logging.getLogger(__name__)

_LOOK = 0.05
"""Seconds between two checks for a commit; a cancel request is noticed within this time."""

_BRIEF = 0.2
"""Seconds before the first check, and before the threads are needed at all. Opening a watch earlier would delay the
start of the tool, and costs more than all other work for a tool that ends within this time."""

_TRY_AGAIN = 1.0
"""Seconds to wait after the database did not answer."""


class Heartbeat:
    """Renews the lease of one attempt while the block lasts.

    `renewed_at` is the monotonic time from *before* the lease was last extended: the lease cannot run out earlier
    than `lease` after it, whatever the clocks of the two machines say. `uses` are the attempts whose endpoints it uses:
    while it runs, their servers are not idle."""

    def __init__(
        self, database: Database, settings: Settings, attempt_id: int, *, owner: Owner, stop: StopSignal,
        renewed_at: float, uses: Sequence[int] = (),
    ) -> None:  # fmt: skip
        self._database = database
        self._attempt_id = attempt_id
        self._owner = owner
        self._stop = stop
        self._uses = uses
        self._lease = settings.lease
        self._every = settings.heartbeat.total_seconds()
        self._hurry: timedelta = settings.lease_margin / 2
        self._safe_for = (settings.lease - settings.lease_margin).total_seconds()
        self._renewed_at = renewed_at
        self._ended = threading.Event()
        self._threads: list[Later] = []

    def __enter__(self) -> Self:
        safe = max(0.0, self._renewed_at + self._safe_for - time.monotonic())
        self._threads = [Later(_BRIEF, self._keep), Later(min(_BRIEF, safe), self._guard)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        for thread in self._threads:
            # A thread that hangs in the database is not waited for; it can no longer change anything.
            thread.call_off(_TRY_AGAIN)

    def _keep(self) -> None:
        while not self._ended.is_set() and self._stop.reason is not StopReason.LEASE_LOST:
            try:
                with closing(self._database.watch()) as watch:
                    self._follow(watch)
            except OwnershipLost:
                if not self._ended.is_set():
                    self._lose("this worker no longer owns the attempt")
                return
            except Exception:
                # For any error, the guard stops the tool before the lease expires.
                log.warning("heartbeat failed; retrying", exc_info=True, extra={"attempt": self._attempt_id})
                self._ended.wait(_TRY_AGAIN)

    def _follow(self, watch: CommitWatch) -> None:
        self._look()  # for commits before the watch began
        while not self._ended.wait(_LOOK):
            if time.monotonic() >= self._renewed_at + self._every:
                self._renew()
            elif watch.wait(0):
                self._look()

    def _renew(self) -> None:
        began = time.monotonic()
        with self._database.write() as session:
            now = self._database.now(session)
            requests = lifecycle.renew(session, self._attempt_id, owner=self._owner, now=now, lease=self._lease)
            note_use(session, self._uses, now)
        self._renewed_at = began
        self._pass_on(requests)

    def _look(self) -> None:
        with self._database.read() as session:
            requests = ownership.requests_of(session, self._attempt_id, owner=self._owner)
        self._pass_on(requests)

    def _pass_on(self, asked: Requests) -> None:
        if asked.cancel_requested or asked.stop_requested:
            self._stop.request(StopReason.CANCELLED if asked.cancel_requested else StopReason.STOPPED)

    def _guard(self) -> None:
        while not self._ended.wait(max(0.0, self._renewed_at + self._safe_for - time.monotonic())):
            if time.monotonic() >= self._renewed_at + self._safe_for:
                self._lose("lease could not be renewed")
                return

    def _lose(self, why: str) -> None:
        log.warning("attempt lost", extra={"attempt": self._attempt_id, "why": why})
        self._stop.request(StopReason.LEASE_LOST, within=self._hurry)
