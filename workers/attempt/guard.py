"""The cards of one attempt: proven free before its tool starts, watched while it runs, proven free again afterwards."""

import logging
import math
import select
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Self

from orchestrator.errors import OrchestratorError
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.profile import OwnCards
from orchestrator.model.slots import SlotName
from orchestrator.model.suspects import COUNTED
from workers.attempt import later_look, own_cards
from workers.host import strays
from workers.host.open_events import OpenEvents
from workers.host.probe import Finding, Probe, command_of
from workers.host.unproven import WITHIN
from workers.processes.process import Outcome, StopReason, StopSignal
from workers.processes.shim import descendants
from workers.processes.threads import beside
from workers.slot import OwnedSlot

log = logging.getLogger(__name__)

LOOKS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Seconds after the start at which the cards opened by the tool are checked, beside the moments at which the kernel
reports that a node is opened; then every `_LATER`."""

_LATER = 60.0

_UNTIL_SEEN = 1.0
"""Longest time between two checks as long as the tool was not seen to open its own cards: in a container the kernel
may report nothing."""

_BETWEEN = 0.01
"""Least time between two checks, for a host on which nodes are opened all the time."""

_PATIENCE = 5.0

_STRAY_PATIENCE = 180.0
"""Seconds to wait for a tool of another attempt that has opened these cards: it is being stopped, and a kill ladder of
real cards takes 60 to 120 s."""

_STRAY_AGAIN = 0.2

_FRESH = WITHIN
"""Seconds for which cards that any worker of the host has seen free count as free before a start: all starts and ends
of a host in that time share one look. A look before every start would not help, since as much time may pass between
the look and the start."""


class CardsNotFree(OrchestratorError):
    """The cards of an attempt are open in another process, or are missing: nothing of it was started."""

    code = "cards_not_free"

    def __init__(self, reason: str, suspicion: Suspicion | None) -> None:
        super().__init__(reason)
        self.failure = Failure(kind=FailureKind.FAULT, reason=reason)
        self.suspicion = suspicion


class Looks:
    """When a running tool is looked at, if the kernel reports nothing."""

    def __init__(self, began: float) -> None:
        self._due = [began + after for after in reversed(LOOKS)]

    def wait(self, now: float, *, seen: bool) -> float:
        """Seconds until the next look; `seen`: it has opened its own cards, or has none."""
        while self._due and self._due[-1] <= now:
            self._due.pop()
        left = self._due[-1] - now if self._due else _LATER
        return left if seen else min(left, _UNTIL_SEEN)


class CardGuard:
    """The state of an attempt's cards. Inside its `with` block, a tool that opens other cards is stopped."""

    def __init__(
        self,
        probe: Probe,
        groups: Sequence[SlotName],
        *,
        slot: OwnedSlot,
        stop: StopSignal,
        own_looks: bool = True,
        may_miss: bool = False,
        elsewhere: Callable[[], Sequence[int]] = tuple,
        say: Callable[[str], None],
    ) -> None:
        """`own_looks`: a look from before the last end on the slot is not enough for this attempt, and it ends with a
        look of its own. `may_miss`: missing cards are allowed, only cards opened by other processes are a problem.
        `say` writes into the attempt's log what is waited for."""
        self._probe = probe
        self._own_looks = own_looks
        self._began = time.monotonic()
        self._may_miss = may_miss
        self._groups = groups
        self._cards = tuple(card for group in groups for card in group.cards)
        self._slot = slot
        self._stop = stop
        self._elsewhere = elsewhere
        self._say = say
        self._ended = threading.Event()
        self._returned = threading.Event()
        self._events: OpenEvents | None = None
        self._opened: set[int] = set()
        self._hidden = False
        self._gone_at = math.inf
        self.found: Finding | None = None
        """Result of the last scan for processes that have cards open."""
        self.processes: list[dict[str, Any]] = []
        """The tool's process tree at the last scan, each process with the cards it had open."""
        self.strayed: tuple[int, ...] = ()
        """Cards that the tool opened although they are not assigned to it."""

    def require_free(self) -> None:
        """CardsNotFree unless every card exists and no process has it open.

        A tool of another attempt that has one open is waited for, until `stop`; after that no slot is suspected. What
        is found is held against the attempts too whose cards were not looked at since they ended."""
        unproven = self._slot.unproven
        since = unproven.look_since(time.monotonic() - _FRESH, after_last_end=self._own_looks)
        seen_free = self._slot.seen_free.get(self._cards)
        if seen_free is not None and seen_free >= since:
            return
        finding = self._without_strays(self._look(since=since))
        if finding.strayed:
            raise CardsNotFree(finding.sentence(), None)
        if not self._fit(finding):
            reason = finding.sentence()
            suspicion = self._suspicion(finding, reason, blames_job=False)
            if self._slot.name in self._groups and unproven.attempts():
                later_look.condemn(self._slot, suspicion.model_copy(update={"slots": (self._slot.id,)}))
            raise CardsNotFree(reason, suspicion)
        if self._slot.name in self._groups:
            unproven.proven(self._probe, began=finding.began)

    def require_undisturbed(self, failure: Failure | None) -> None:
        """CardsNotFree, which blames nobody, if a tool failed while that of another attempt had its cards open."""
        if self.found is not None and self.found.strayed and failure is not None and failure.kind in COUNTED:
            raise CardsNotFree(f"{self.found.sentence()}; the tool failed with: {failure.reason}", None)

    def __enter__(self) -> Self:
        # Before the tool starts, so that its first open is reported too.
        self._events = self._slot.opens.take(self._probe)
        self._returned = beside(partial(self._watch, self._events))
        return self

    def __exit__(self, *_: object) -> None:
        self._gone_at = time.monotonic()
        self._ended.set()
        if self._events is not None:
            self._events.wake()
        # A scan that hangs in a file system is not waited for; its result is no longer used, and it keeps its events.
        if self._returned.wait(_PATIENCE) and self._events is not None:
            self._slot.opens.give_back(self._events)

    @property
    def seen(self) -> frozenset[int]:
        """The cards that the tool was seen to have open.

        That a node was opened while it ran proves nothing of a tool that we may not look into: a person's `tsm_smi`
        opens them too."""
        return frozenset(self._opened)

    def misuse(self, outcome: Outcome, *, said: Collection[int] = ()) -> Failure | None:
        """The failure of an attempt whose tool opened other cards, or whose output `said` that it uses such."""
        if outcome.stopped not in (None, StopReason.WRONG_CARDS):
            return None
        return own_cards.strayed(self._groups, outcome, opened=self.strayed, said=said)

    def unproven(self, rule: OwnCards | None, *, said: Collection[int]) -> str | None:
        """Why the cards of a run were not seen to be its own, where the profile requires it; None if they were."""
        return own_cards.why_unproven(rule, self._groups, seen=self.seen, said=said, hidden=self._hidden)

    def excused(self, failure: Failure | None) -> Failure | None:
        """The failure of a tool, or a fault if one of its cards has disappeared: a dead card must not fail a job."""
        missing = self.found.missing if self.found is not None and not self._may_miss else ()
        if not missing or failure is None or failure.kind not in COUNTED:
            return failure
        card, what = missing[0]
        reason = f"card {card} has disappeared ({what}); the tool failed with: {failure.reason}"
        return failure.model_copy(update={"kind": FailureKind.FAULT, "reason": reason})

    @property
    def may_be_proven_later(self) -> bool:
        """Whether nothing but the end of the tool can ask for a look at the cards in the attempt's own time."""
        return not (self._own_looks or self.strayed or self._found_meanwhile())

    def owe_look(self, attempt_id: int) -> None:
        """Have the cards looked at soon, now that the end is reported."""
        later_look.owe(self._slot, self._probe, attempt_id, gone_at=self._gone_at)

    def left_behind(self, unkillable: Sequence[int]) -> Suspicion | None:
        """Why the cards cannot be given to the next attempt; None if they are proven free.

        The later it is called, the more likely another worker has scanned the cards since the tool's processes
        ended."""
        finding = self._look(since=self._gone_at)
        if finding.strayed or self._fit(finding):
            return self._found_meanwhile()
        survivor = any(holder.pid in unkillable for holder in finding.holders)
        whose = "left by this attempt: " if survivor else ""
        return self._suspicion(finding, f"after the run, {whose}{finding.sentence()}", blames_job=survivor)

    def _found_meanwhile(self) -> Suspicion | None:
        """What a look for attempts that had ended before has found while this one ran."""
        return self._slot.unproven.suspicion_since(self._began)

    def _fit(self, finding: Finding) -> bool:
        return finding.free or (self._may_miss and not (finding.holders or finding.busy))

    def _suspicion(self, finding: Finding, reason: str, *, blames_job: bool) -> Suspicion:
        """The suspicion of those slots of the attempt whose cards are not free."""
        slots = [group for group in self._groups if finding.not_free.intersection(group.cards)]
        return Suspicion(
            reason=reason,
            blames_job=blames_job,
            slots=self._slot_ids(slots),
            evidence=finding.document(),
        )

    def _slot_ids(self, groups: Sequence[SlotName]) -> tuple[str, ...]:
        return tuple(f"{self._slot.settings.host}.{group}" for group in groups)

    def _without_strays(self, finding: Finding) -> Finding:
        """The last finding: when no tool of another attempt has the cards open, or after the patience with it."""
        give_up = time.monotonic() + _STRAY_PATIENCE
        if finding.strayed:
            self._say(f"waiting until its cards are free: {finding.sentence()}")
        with self._stop.waking() as waker:
            while finding.strayed and self._stop.reason is None and time.monotonic() < give_up:
                select.select([waker], [], [], _STRAY_AGAIN)
                finding = self._look(since=time.monotonic())
        return finding

    def _look(self, *, since: float) -> Finding:
        self._slot.seen_free.pop(self._cards, None)
        found = self._probe.look(self._cards, since=since, shim=self._slot.shim, keep_fds=[self._slot.lock])
        own = self._slot_ids(self._groups)
        self.found = strays.attributed(found, self._slot.settings, self._slot.database, own=own)
        if self.found.free:
            self._slot.seen_free[self._cards] = self.found.began
        return self.found

    def _watch(self, events: OpenEvents) -> None:
        looks = Looks(time.monotonic())
        while not self._ended.is_set():
            events.wait(looks.wait(time.monotonic(), seen=bool(self._opened or not self._cards)))
            if self._ended.is_set():
                return
            try:
                self._look_at_the_tree()
            except Exception:
                # A failed scan must not end a run of hours.
                log.warning("open cards not checked", exc_info=True)
            self._ended.wait(_BETWEEN)

    def _look_at_the_tree(self) -> None:
        pids = [*descendants(self._slot.shim.pid), *self._elsewhere()]
        opened = self._probe.opened_by(pids)
        self.processes = [
            {"pid": pid, "command": command_of(pid), "state": _state(pid), "cards": sorted(opened.cards.get(pid, ()))}
            for pid in pids
        ]
        self._opened |= opened.all
        self._hidden = self._hidden or opened.unseen > 0
        strayed = opened.all - set(self._cards)
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
