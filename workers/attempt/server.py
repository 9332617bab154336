"""A server while its tool runs: on which port, whether it is ready, whether it is used.

The tool is started, watched and stopped as every other one (`workers.processes.process`); here is what only servers
have.
"""

import http.client
import json
import logging
import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from orchestrator.errors import EndpointClosed, OwnershipLost
from orchestrator.jobs import endpoints
from orchestrator.model.patterns import Pattern
from orchestrator.model.specs import ServeSpec
from workers.host import ports
from workers.processes.process import Outcome, StopReason, StopSignal
from workers.processes.threads import beside
from workers.slot import OwnedSlot
from workers.toolchain.commands import Plan, at_address, fill

log = logging.getLogger(__name__)

STARTS = 3
"""How often a server is started when its port was taken before it could have it."""

_ASK_AGAIN = 0.5
"""Seconds between two questions whether it is ready."""

_USE_NOTED = 10.0
"""Seconds between two looks for connections: as far apart are the uses that are noted, at most."""

_ANSWER_WITHIN = 5.0
_LARGEST_ANSWER = 1 << 20
_MOST_SEARCHED = 1 << 20
"""Bytes at the end of its log in which it is looked for what a server says of itself."""

_PATIENCE = 5.0


@dataclass(frozen=True)
class _Start:
    """One start of a server."""

    plan: Plan
    address: str
    port: int
    printed: int
    """Bytes that earlier starts have left in the log."""


class Server:
    """One attempt at a server."""

    def __init__(self, plan: Plan, *, slot: OwnedSlot, attempt_id: int, stop: StopSignal, log: Path) -> None:
        if not isinstance(plan.spec, ServeSpec) or plan.kind.serve is None:
            raise TypeError(f"{plan.spec.kind} jobs do not serve")
        self._plan, self._spec, self._rule = plan, plan.spec, plan.kind.serve
        self._slot = slot
        self._attempt_id = attempt_id
        self._stop = stop
        self._log = log
        self.was_ready = False
        """Its endpoint was open for a while, however it ended."""

    def run(self, start: Callable[[Plan], Outcome]) -> Outcome:
        """Start it, on another port if it could not have the first, and see it to its end."""
        for left in reversed(range(STARTS)):
            with self._reserved() as begun, _alongside(partial(self._watch, begun)):
                outcome = start(begun.plan)
            by_itself = outcome.stopped is None and not self.was_ready
            if not left or not by_itself or not self._has_printed(self._rule.port_taken, begun):
                break
            log.warning("port in use; trying another", extra={"attempt": self._attempt_id, "port": begun.port})
        return outcome

    @contextmanager
    def _reserved(self) -> Iterator[_Start]:
        settings = self._slot.settings
        printed = self._log.stat().st_size if self._log.exists() else 0
        with ports.reserved(settings, owner=f"attempt {self._attempt_id} on {self._slot.id}") as port:
            plan = at_address(self._plan, settings.address, port)
            yield _Start(plan, settings.address, port, printed)

    def _watch(self, begun: _Start, ended: threading.Event) -> None:
        try:
            if self._became_ready(begun, ended):
                self._see_uses(begun.port, ended)
        except Exception:
            log.exception("server no longer watched", extra={"attempt": self._attempt_id})
            if not self.was_ready:
                # It would hold its cards, and nobody would ever know where it answers.
                self._stop.request(StopReason.NOT_READY)

    def _became_ready(self, begun: _Start, ended: threading.Event) -> bool:
        until = time.monotonic() + self._spec.ready_seconds
        while not ended.wait(_ASK_AGAIN):
            served_id = self._served_id(begun)
            if served_id is not None and self._announced(begun, served_id):
                return True
            if time.monotonic() >= until:
                self._stop.request(StopReason.NOT_READY)
                break
        return False

    def _served_id(self, begun: _Start) -> str | None:
        """What it calls its model, once it is ready; None before, and if it is another that answers on its port."""
        rule = self._rule
        if rule.ready_line is not None and not self._has_printed(rule.ready_line, begun):
            return None
        served_id = first_model(begun.address, begun.port, rule.ready_path)
        expected = (
            served_id if rule.served_id is None else fill(rule.served_id, begun.plan.view.words(begun.plan.words))
        )
        return served_id if served_id == expected else None

    def _announced(self, begun: _Start, served_id: str) -> bool:
        """Open its endpoint; False if that has to be tried again."""
        database, told = self._slot.database, {"url": f"http://{begun.address}:{begun.port}", "served_id": served_id}
        try:
            with database.write() as session:
                now = database.now(session)
                endpoints.announce(session, self._attempt_id, worker=self._slot.worker, now=now, **told)
        except OwnershipLost:
            self._stop.request(StopReason.LEASE_LOST, within=timedelta(0))
            return False
        except SQLAlchemyError:
            log.warning("endpoint not opened; retrying", exc_info=True, extra={"attempt": self._attempt_id})
            return False
        self.was_ready = True
        return True

    def _see_uses(self, port: int, ended: threading.Event) -> None:
        """Note that it is used by whoever asks it without telling anybody: an open connection shows."""
        database, idle = self._slot.database, self._spec.idle_seconds
        while not ended.wait(_USE_NOTED if idle is None else min(_USE_NOTED, idle / 3)):
            if ports.established(port):
                with suppress(EndpointClosed, SQLAlchemyError), database.write() as session:
                    endpoints.note_use(session, self._attempt_id, database.now(session))

    def _has_printed(self, pattern: Pattern, begun: _Start) -> bool:
        with suppress(FileNotFoundError), self._log.open("rb") as opened:
            opened.seek(max(begun.printed, opened.seek(0, os.SEEK_END) - _MOST_SEARCHED))
            return re.search(pattern, opened.read(_MOST_SEARCHED).decode("utf-8", "replace")) is not None
        return False


@contextmanager
def _alongside(call: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `call` beside the block; the event that it gets is set when the block ends."""
    ended = threading.Event()
    returned = beside(lambda: call(ended))
    try:
        yield
    finally:
        ended.set()
        # One that hangs in the database or the network changes nothing any more: the attempt's end is its fence.
        returned.wait(_PATIENCE)


def first_model(address: str, port: int, path: str) -> str | None:
    """The id of the first model that a server lists there; None unless it answers as OpenAI's interface does."""
    asked = http.client.HTTPConnection(address, port, timeout=_ANSWER_WITHIN)
    try:
        asked.request("GET", path)
        answer = asked.getresponse()
        content = _read(answer) if answer.status == http.HTTPStatus.OK else b""
        listed: Any = json.loads(content)
        served_id = listed["data"][0]["id"]
    except (OSError, http.client.HTTPException, ValueError, LookupError, TypeError, RecursionError):
        return None
    finally:
        asked.close()
    return served_id if isinstance(served_id, str) else None


def _read(answer: http.client.HTTPResponse) -> bytes:
    """All of a small answer; ValueError for one that is large, or that trickles in."""
    until, content = time.monotonic() + _ANSWER_WITHIN, b""
    while piece := answer.read1(1 << 16):
        content += piece
        if len(content) > _LARGEST_ANSWER or time.monotonic() > until:
            raise ValueError("more than a list of models")
    return content
