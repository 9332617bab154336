"""The cards of one attempt: proven free before its tool starts, watched while it runs, proven free again afterwards."""

import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Self

from orchestrator.errors import OrchestratorError
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.slots import SlotName
from orchestrator.model.suspects import COUNTED
from workers.host.probe import Finding, Probe, command_of
from workers.processes.process import Outcome, StopReason, StopSignal
from workers.processes.shim import descendants
from workers.processes.threads import beside
from workers.slot import OwnedSlot

log = logging.getLogger(__name__)

LOOKS = (0.3, 1.0, 3.0, 10.0, 30.0)
"""Seconds after the start at which the cards opened by the tool are checked; then every `_LATER`."""

_LATER = 60.0
_PATIENCE = 5.0

_FRESH = 0.1
"""Seconds for which cards that any worker of the host has seen free count as free before a start: a group that goes
from one attempt directly to the next is probed once. A probe before every start would not help, since as much time may
pass between the probe and the start."""


class CardsNotFree(OrchestratorError):
    """The cards of an attempt are open in another process, or are missing: nothing of it was started."""

    code = "cards_not_free"

    def __init__(self, suspicion: Suspicion) -> None:
        super().__init__(suspicion.reason)
        self.failure = Failure(kind=FailureKind.FAULT, reason=suspicion.reason)
        self.suspicion = suspicion


class CardGuard:
    """The state of an attempt's cards. Inside its `with` block, a tool that opens other cards is stopped."""

    def __init__(
        self,
        probe: Probe,
        groups: Sequence[SlotName],
        *,
        slot: OwnedSlot,
        stop: StopSignal,
        may_miss: bool = False,
        elsewhere: Callable[[], Sequence[int]] = tuple,
    ) -> None:
        """`may_miss`: missing cards are allowed, only cards opened by other processes are a problem."""
        self._probe = probe
        self._may_miss = may_miss
        self._groups = groups
        self._cards = tuple(card for group in groups for card in group.cards)
        self._slot = slot
        self._stop = stop
        self._elsewhere = elsewhere
        self._ended = threading.Event()
        self._returned = threading.Event()
        self._gone_at = math.inf
        self.found: Finding | None = None
        """Result of the last scan for processes that have cards open."""
        self.processes: list[dict[str, Any]] = []
        """The tool's process tree at the last scan, each process with the cards it had open."""
        self.strayed: tuple[int, ...] = ()
        """Cards that the tool opened although they are not assigned to it."""

    def require_free(self) -> None:
        """CardsNotFree unless every card exists and no process has it open."""
        seen_free = self._slot.seen_free.get(self._cards)
        if seen_free is None or time.monotonic() > seen_free + _FRESH:
            finding = self._look(since=time.monotonic() - _FRESH)
            if not self._fit(finding):
                raise CardsNotFree(self._suspicion(finding, finding.sentence(), blames_job=False))

    def __enter__(self) -> Self:
        self._returned = beside(self._watch)
        return self

    def __exit__(self, *_: object) -> None:
        self._gone_at = time.monotonic()
        self._ended.set()
        # A scan that hangs in a file system is not waited for; its result is no longer used.
        self._returned.wait(_PATIENCE)

    def misuse(self, outcome: Outcome) -> Failure | None:
        """The failure of an attempt whose tool opened other cards: not a fault of the host, but of the tool's
        arguments."""
        if not self.strayed or outcome.stopped not in (None, StopReason.WRONG_CARDS):
            return None
        own = f"its own are {_numbers_of(self._cards)}" if self._cards else "a CPU job has no cards"
        reason = f"it opened cards {_numbers_of(self.strayed)}, and {own}: see the profile's arguments for cards"
        return Failure(kind=FailureKind.WRONG_CARDS, reason=reason, exit_code=outcome.exit_code, signal=outcome.signal)

    def excused(self, failure: Failure | None) -> Failure | None:
        """The failure of a tool, or a fault if one of its cards has disappeared: a dead card must not fail a job."""
        missing = self.found.missing if self.found is not None and not self._may_miss else ()
        if not missing or failure is None or failure.kind not in COUNTED:
            return failure
        card, what = missing[0]
        reason = f"card {card} has disappeared ({what}); the tool failed with: {failure.reason}"
        return failure.model_copy(update={"kind": FailureKind.FAULT, "reason": reason})

    def left_behind(self, unkillable: Sequence[int]) -> Suspicion | None:
        """Why the cards cannot be given to the next attempt; None if they are proven free.

        The later it is called, the more likely another worker has scanned the cards since the tool's processes
        ended."""
        finding = self._look(since=self._gone_at)
        if self._fit(finding):
            return None
        survivor = any(holder.pid in unkillable for holder in finding.holders)
        whose = "left by this attempt: " if survivor else ""
        return self._suspicion(finding, f"after the run, {whose}{finding.sentence()}", blames_job=survivor)

    def _fit(self, finding: Finding) -> bool:
        return finding.free or (self._may_miss and not (finding.holders or finding.busy))

    def _suspicion(self, finding: Finding, reason: str, *, blames_job: bool) -> Suspicion:
        """The suspicion of those slots of the attempt whose cards are not free."""
        slots = [group for group in self._groups if finding.not_free.intersection(group.cards)]
        return Suspicion(
            reason=reason,
            blames_job=blames_job,
            slots=tuple(f"{self._slot.settings.host}.{group}" for group in slots),
            evidence=finding.document(),
        )

    def _look(self, *, since: float) -> Finding:
        self._slot.seen_free.pop(self._cards, None)
        self.found = self._probe.look(self._cards, since=since, shim=self._slot.shim, keep_fds=[self._slot.lock])
        if self.found.free:
            self._slot.seen_free[self._cards] = time.monotonic() - self.found.age
        return self.found

    def _watch(self) -> None:
        began, looks = time.monotonic(), iter(LOOKS)
        while True:
            due = next(looks, None)
            if self._ended.wait(_LATER if due is None else max(0.0, began + due - time.monotonic())):
                return
            try:
                self._look_at_the_tree()
            except Exception:
                # A failed scan must not end a run of hours.
                log.warning("open cards not checked", exc_info=True)

    def _look_at_the_tree(self) -> None:
        pids = [*descendants(self._slot.shim.pid), *self._elsewhere()]
        opened = self._probe.opened_by(pids)
        self.processes = [
            {"pid": pid, "command": command_of(pid), "state": _state(pid), "cards": sorted(opened.get(pid, ()))}
            for pid in pids
        ]
        strayed = {card for cards in opened.values() for card in cards} - set(self._cards)
        if strayed:
            self.strayed = tuple(sorted(strayed.union(self.strayed)))
            self._stop.request(StopReason.WRONG_CARDS)


def _state(pid: int) -> str:
    """The kernel's state letter of a process (`R`, `S`, `D` …), and the call in which it waits."""
    state, where = "", ""
    with suppress(OSError), open(f"/proc/{pid}/stat", "rb") as told:
        state = told.read(4096).rpartition(b")")[2].split()[0].decode()
    with suppress(OSError), open(f"/proc/{pid}/wchan", "rb") as told:
        where = told.read(100).decode("ascii", "replace").strip("0")
    return f"{state} {where}".strip()


def _numbers_of(cards: Sequence[int]) -> str:
    return ", ".join(map(str, cards))
