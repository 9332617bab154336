"""The state of one turn: which slots are still free, and which are set aside for a waiting gang.

For a gang that cannot start, slots of one host are set aside: those with which it starts first if every job on them
runs to its limit. From then on a free slot among them is given only to a job whose own limit ends before that moment
(EASY backfill), so that no job that is placed later makes the gang wait longer.
"""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime, timedelta

from orchestrator.model.demand import Demand, FreeSlot, hosts_with_enough
from orchestrator.model.states import ServiceState
from orchestrator.scheduling.placement import why
from orchestrator.scheduling.placement.candidate import Candidate, Placement
from orchestrator.scheduling.placement.gathering import Gathering, earliest, in_order
from orchestrator.scheduling.placement.supply import Supply


class Board:
    """During a turn slots are only taken or set aside, never released, so a demand that failed once fails again."""

    def __init__(self, candidates: Sequence[Candidate], supply: Supply) -> None:
        self._supply = supply
        self._pinned = Counter(name for candidate in candidates for name in candidate.demand.only)
        every = [*supply.free, *(busy.slot for busy in supply.busy)]
        gangs = {candidate.demand for candidate in candidates if candidate.demand.slots > 1}
        self._hosts = {demand: hosts_with_enough(demand, every) for demand in gangs}
        self._gangs = {demand.kind for demand, hosts in self._hosts.items() if hosts}
        self._left = Counter(slot.host for slot in supply.free if self._is_crowding(slot))
        self._crowd = {slot.id: self._left[slot.host] if slot.name.kind in self._gangs else 0 for slot in supply.free}
        """Number of free slots of a slot's host as the turn begins, if gangs wait for hosts; otherwise 0."""
        self._slots = sorted(supply.free, key=lambda slot: (self._claims(slot), self._crowd[slot.id]))
        self.free = {slot.id for slot in supply.free}
        self._free_at = {slot.id: supply.now for slot in supply.free}
        self._free_at |= {busy.slot.id: max(supply.now, busy.until) for busy in supply.busy}
        self.gatherings: dict[str, Gathering] = {}
        """By host; each has one at most."""
        self._set_aside: dict[str, Gathering] = {}
        self._soonest: dict[tuple[Demand, timedelta, str | None], list[tuple[datetime, str]]] = {}
        """Heaps of hosts by the start time of similar gangs, as last computed; the actual time may be later."""
        self._by_demand: dict[Demand, deque[FreeSlot]] = {}
        self._by_kcore: dict[str | None, deque[FreeSlot]] = defaultdict(deque)
        self._hopeless: dict[tuple[Demand, str], timedelta] = {}
        for slot in self._slots:
            self._by_kcore[slot.kcore].append(slot)

    @property
    def finished(self) -> bool:
        """Whether no more slots can be assigned or set aside."""
        return not self.free and not self._gangs

    def give(self, candidate: Candidate) -> Placement | None:
        """Slots for this candidate, and why those; None if too few of the slots that it may have are free."""
        kind = candidate.demand, candidate.project
        if candidate.run_limit >= self._hopeless.get(kind, timedelta.max):
            return None
        found = self._several(candidate) if candidate.demand.slots > 1 else self._single(candidate)
        if found is None:
            self._hopeless[kind] = candidate.run_limit
            return None
        slots, reason = found
        for slot in slots:
            self.free.remove(slot.id)
            if self._is_crowding(slot):
                self._left[slot.host] -= 1
            self._free_at[slot.id] = self._supply.now + candidate.run_limit
        return Placement(candidate.job_id, tuple(slot.id for slot in slots), reason)

    def gather(self, candidate: Candidate) -> None:
        """Set slots aside for a gang on the host where it can start first.

        Nothing is set aside if no host has enough slots, or if each of those has slots set aside for another gang
        already.
        """
        hosts = self._hosts[candidate.demand]
        # The project matters only for the windows that are open to it.
        kind = candidate.demand, candidate.run_limit, candidate.project if self._supply.windows else None
        line = self._soonest.get(kind)
        if line is None:
            line = self._soonest[kind] = [(self._supply.now, host) for host in sorted(hosts)]
        while line:
            start, host = line[0]
            found = None
            if host not in self.gatherings:
                found = earliest(candidate, hosts[host], self._free_at, self._supply.windows)
            if found is None:
                heapq.heappop(line)
            elif found.starts_at > start:
                heapq.heapreplace(line, (found.starts_at, host))
            else:
                self.gatherings[host] = found
                self._set_aside |= dict.fromkeys(found.slot_ids, found)
                return

    def _single(self, candidate: Candidate) -> tuple[list[FreeSlot], str] | None:
        """The one slot for this candidate, and why this slot."""
        fitting = self._fitting(candidate.demand)
        best = next((slot for slot in fitting if self._open(slot, candidate)), None)
        if best is None:
            return None
        if candidate.avoid:
            left = [slot for slot in fitting if self._open(slot, candidate)]
            best = min(left, key=lambda slot: (slot.id in candidate.avoid, self._claims(slot), _cold(candidate, slot)))
            return [best], why.after_failures(candidate, best, left, closed=self._closed(candidate, fitting))
        if candidate.demand.only:
            return [best], why.named(candidate)
        warm = self._warm(candidate, best)
        if warm is not None:
            return [warm], why.WARM
        return [best], self._reason(candidate, best, fitting)

    def _reason(self, candidate: Candidate, best: FreeSlot, fitting: Collection[FreeSlot]) -> str:
        def another(worse: Callable[[FreeSlot], bool]) -> FreeSlot | None:
            rest = (slot for slot in fitting if slot is not best and self._open(slot, candidate))
            return next((slot for slot in rest if worse(slot)), None)

        if another(lambda slot: True) is None:
            return why.alone(closed=self._closed(candidate, fitting))
        if self._pinned and (wanted := another(lambda slot: self._claims(slot) > self._claims(best))) is not None:
            return why.left_to_those_who_name(wanted)
        if self._gangs and another(lambda slot: self._crowd[slot.id] > self._crowd[best.id]) is not None:
            return why.LEFT_TO_GANGS
        return why.IDLE

    def _closed(self, candidate: Candidate, fitting: Iterable[FreeSlot]) -> bool:
        """Whether some free slots that fit are set aside or reserved for others."""
        return any(slot.id in self.free and not self._open(slot, candidate) for slot in fitting)

    def _several(self, candidate: Candidate) -> tuple[list[FreeSlot], str] | None:
        """Enough slots of one host, and why this host: of those that have enough, the one with the fewest free."""
        demand = candidate.demand
        hosts = hosts_with_enough(demand, (slot for slot in self._fitting(demand) if self._open(slot, candidate)))
        if not hosts:
            return None

        def dislike(slot: FreeSlot) -> tuple[bool, int, bool, int]:
            return slot.id in candidate.avoid, self._claims(slot), _cold(candidate, slot), slot.name.index

        chosen = {host: sorted(slots, key=dislike)[: demand.slots] for host, slots in hosts.items()}

        def worse(host: str) -> tuple[bool, int, int, int]:
            failed = any(slot.id in candidate.avoid for slot in chosen[host])
            claims = sum(self._claims(slot) for slot in chosen[host])
            return failed, self._left[host], claims, sum(_cold(candidate, slot) for slot in chosen[host])

        best = min(chosen, key=worse)
        slots, closed = in_order(chosen[best]), self._closed(candidate, self._fitting(demand))
        return slots, why.of_gang(candidate, slots, [(worse(host), host == best) for host in hosts], closed=closed)

    def _fitting(self, demand: Demand) -> deque[FreeSlot]:
        """The slots that the demand admits, best first; the first of them is free."""
        fitting = self._by_demand.get(demand)
        if fitting is None:
            fitting = self._by_demand[demand] = deque(slot for slot in self._slots if demand.admits(slot))
        return self._from_the_first_free(fitting)

    def _warm(self, candidate: Candidate, best: FreeSlot) -> FreeSlot | None:
        """A slot that ran the candidate's kernel image last and is as good as `best` otherwise."""
        if candidate.kcore is None or not _cold(candidate, best):
            return None if candidate.kcore is None else best
        same = self._from_the_first_free(self._by_kcore[candidate.kcore])
        fitting = (slot for slot in same if candidate.demand.admits(slot) and self._open(slot, candidate))
        return next((slot for slot in fitting if self._claims(slot) == self._claims(best)), None)

    def _from_the_first_free(self, slots: deque[FreeSlot]) -> deque[FreeSlot]:
        while slots and slots[0].id not in self.free:
            slots.popleft()
        return slots

    def _open(self, slot: FreeSlot, candidate: Candidate) -> bool:
        """Whether the slot is free, not set aside for a gang that would have to wait, and not closed by a window."""
        if slot.id not in self.free:
            return False
        if not self._set_aside and not self._supply.windows:
            return True
        ends_at = self._supply.now + candidate.run_limit
        gathering = self._set_aside.get(slot.id)
        if gathering is not None and ends_at > gathering.starts_at:
            return False
        windows = self._supply.windows.get(slot.id, ())
        return not any(window.closed(candidate.project, self._supply.now, ends_at) for window in windows)

    def _claims(self, slot: FreeSlot) -> int:
        """Number of candidates that name this slot."""
        return sum(self._pinned[name] for name in slot.names)

    def _is_crowding(self, slot: FreeSlot) -> bool:
        """Whether gangs count it among the free slots of its host."""
        return slot.name.kind in self._gangs and slot.service is ServiceState.IN_SERVICE


def _cold(candidate: Candidate, slot: FreeSlot) -> bool:
    """Whether another kernel image than the candidate's was on the slot last."""
    return candidate.kcore is not None and slot.kcore != candidate.kcore
