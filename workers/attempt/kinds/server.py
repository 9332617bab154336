"""A job that serves until it is stopped: on which port it listens, whether it is ready, whether it is used."""

import http.client
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from sqlalchemy.exc import SQLAlchemyError

from orchestrator.errors import EndpointClosed, OwnershipLost
from orchestrator.jobs import endpoints
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.patterns import Pattern
from orchestrator.model.profile import ServeRule
from orchestrator.model.specs import ServeSpec
from workers.attempt import own_cards
from workers.attempt.facts import Claimed, Ran
from workers.attempt.guard import CardGuard
from workers.attempt.kinds.tool import Start, Tool
from workers.host import ports
from workers.processes.matching import search
from workers.processes.process import Outcome, StopReason
from workers.processes.threads import beside
from workers.toolchain.commands import LOOPBACK, Plan, at_address, fill

log = logging.getLogger(__name__)

STARTS = 3
"""How often a server is started if another process took its port first."""

_ASK_AGAIN = 0.5
"""Seconds between two readiness checks."""

_USE_NOTED = 10.0
"""Seconds between two checks for connections; recorded uses are at most this far apart."""

_ANSWER_WITHIN = 5.0
_LARGEST_ANSWER = 1 << 20
_MOST_SEARCHED = 1 << 20
"""Bytes at the end of its log that are searched for a server's messages about itself."""

_PATIENCE = 5.0


@dataclass(frozen=True)
class _Begun:
    """One start of a server."""

    plan: Plan
    spec: ServeSpec
    rule: ServeRule
    address: str
    port: int
    printed: int
    """Bytes of the log written by earlier starts."""


class Server(Tool):
    """Ends by being stopped. Its endpoint is open from when it is ready until its attempt ends."""

    def __init__(self, claimed: Claimed) -> None:
        super().__init__(claimed)
        self._was_ready = False
        """Whether its endpoint has been open, however it ended."""
        self._unproven: str | None = None
        """Why it is not announced although it answers: its cards were not seen to be its own."""

    def run(self, plan: Plan, start: Start, guard: CardGuard) -> Outcome:
        """Start it, on another port if the first was in use, and run it to its end."""
        for left in reversed(range(STARTS)):
            with self._reserved(plan) as begun, _alongside(partial(self._watch, begun, guard)):
                # A server without requests prints nothing.
                outcome = start(begun.plan, may_be_silent=True)
            by_itself = outcome.stopped is None and not self._was_ready
            if not left or not by_itself or not self._has_printed(begun.rule.port_taken, begun):
                break
            log.warning("port in use; trying another", extra={"attempt": self._claimed.id, "port": begun.port})
        return outcome

    def judge(self, ran: Ran) -> Failure | None:
        """It succeeds when it was stopped while it was ready; one that ends by itself has failed."""
        failure = super().judge(replace(ran, evidence=replace(ran.evidence, was_ready=self._was_ready)))
        if ran.outcome.stopped is not StopReason.NOT_READY or failure is None or failure.kind is not FailureKind.TOOL:
            return failure
        return own_cards.unproven(self._unproven, ran.outcome) or failure

    @contextmanager
    def _reserved(self, plan: Plan) -> Iterator[_Begun]:
        if not isinstance(plan.spec, ServeSpec) or plan.kind.serve is None:
            raise TypeError(f"{plan.spec.kind} jobs do not serve")
        claimed, settings = self._claimed, self._claimed.slot.settings
        printed = claimed.log.stat().st_size if claimed.log.exists() else 0
        owner = f"attempt {claimed.id} on {claimed.slot.id}"
        with ports.reserved(settings, owner=owner, port=plan.spec.port) as port:
            at_port = at_address(plan, settings.address, port)
            yield _Begun(at_port, plan.spec, plan.kind.serve, settings.address, port, printed)

    def _watch(self, begun: _Begun, guard: CardGuard, ended: threading.Event) -> None:
        try:
            if self._became_ready(begun, guard, ended):
                self._see_uses(begun, ended)
        except Exception:
            log.exception("server no longer watched", extra={"attempt": self._claimed.id})
            if not self._was_ready:
                # It would occupy its cards, and its address would never be published.
                self._claimed.stop.request(StopReason.NOT_READY)

    def _became_ready(self, begun: _Begun, guard: CardGuard, ended: threading.Event) -> bool:
        until = time.monotonic() + begun.spec.ready_seconds
        while not ended.wait(_ASK_AGAIN):
            served_id = self._served_id(begun)
            if served_id is not None:
                self._unproven = guard.unproven(begun.plan.kind.own_cards, said=self._said_cards(begun))
                if self._unproven is None and self._announced(begun, served_id):
                    return True
            if time.monotonic() >= until:
                self._claimed.stop.request(StopReason.NOT_READY)
                break
        return False

    def _served_id(self, begun: _Begun) -> str | None:
        """The name of its model, once it is ready; None before, and if another server answers on its port."""
        rule = begun.rule
        if rule.ready_line is not None and not self._has_printed(rule.ready_line, begun):
            return None
        served_id = first_model(begun.address, begun.port, rule.ready_path)
        expected = (
            served_id if rule.served_id is None else fill(rule.served_id, begun.plan.view.words(begun.plan.words))
        )
        return served_id if served_id == expected else None

    def _announced(self, begun: _Begun, served_id: str) -> bool:
        """Open its endpoint; False if that has to be tried again."""
        database, url = self._claimed.slot.database, f"http://{begun.address}:{begun.port}"
        openly = begun.address == LOOPBACK and ports.listens_openly(begun.port)
        try:
            with database.write() as session:
                now = database.now(session)
                endpoints.announce(
                    session, self._claimed.id, owner=self._claimed.slot.owner, url=url, served_id=served_id, now=now,
                    openly=openly,
                )  # fmt: skip
        except OwnershipLost:
            self._claimed.stop.request(StopReason.LEASE_LOST, within=timedelta(0))
            return False
        except SQLAlchemyError:
            log.warning("endpoint not opened; retrying", exc_info=True, extra={"attempt": self._claimed.id})
            return False
        self._was_ready = True
        return True

    def _see_uses(self, begun: _Begun, ended: threading.Event) -> None:
        """Record direct use, which is not reported otherwise: an open connection counts as use."""
        database, idle = self._claimed.slot.database, begun.spec.idle_seconds
        while not ended.wait(_USE_NOTED if idle is None else min(_USE_NOTED, idle / 3)):
            if ports.established(begun.port):
                with suppress(EndpointClosed, SQLAlchemyError), database.write() as session:
                    endpoints.note_use(session, self._claimed.id, database.now(session))

    def _said_cards(self, begun: _Begun) -> frozenset[int]:
        rule = begun.plan.kind.own_cards
        return frozenset() if rule is None else own_cards.named_in(rule, [self._printed(begun)])

    def _has_printed(self, pattern: Pattern, begun: _Begun) -> bool:
        return search(pattern, self._printed(begun)) is not None

    def _printed(self, begun: _Begun) -> str:
        """The end of what this start has printed."""
        with suppress(FileNotFoundError), self._claimed.log.open("rb") as opened:
            opened.seek(max(begun.printed, opened.seek(0, os.SEEK_END) - _MOST_SEARCHED))
            return opened.read(_MOST_SEARCHED).decode("utf-8", "replace")
        return ""


@contextmanager
def _alongside(call: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run `call` in a thread during the block; the event that it gets is set when the block ends."""
    ended = threading.Event()
    returned = beside(lambda: call(ended))
    try:
        yield
    finally:
        ended.set()
        # A thread that hangs in the database or the network can change nothing after the end of the attempt.
        returned.wait(_PATIENCE)


def first_model(address: str, port: int, path: str, *, authority: str | None = None) -> str | None:
    """The id of the first model that a server lists there; None unless it answers like OpenAI's API.

    Redirects are not followed. `authority` is the value of `Host`, if it is not the address."""
    asked = http.client.HTTPConnection(address, port, timeout=_ANSWER_WITHIN)
    try:
        asked.request("GET", path, headers={} if authority is None else {"Host": authority})
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
    """The whole of a small answer; ValueError for one that is too large or too slow."""
    until, content = time.monotonic() + _ANSWER_WITHIN, b""
    while piece := answer.read1(1 << 16):
        content += piece
        if len(content) > _LARGEST_ANSWER or time.monotonic() > until:
            raise ValueError("more than a list of models")
    return content
