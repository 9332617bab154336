"""`place`: the one decision of the scheduler, from a snapshot to placements."""

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from orchestrator.placement.demand import Demand, FreeSlot
from orchestrator.placement.order import LEAST_CHARGE, UNUSED, Share, place_in_line


@dataclass(frozen=True)
class Candidate:
    """A queued job; of one priority the lowest `rank` comes first.

    `avoid` are slots where it failed before: taken only when nothing else is free.
    """

    job_id: int
    demand: Demand
    priority: int
    """As it counts now, with what waiting has added."""
    avoid: frozenset[str] = frozenset()
    rank: int = 0
    """Below 0 since it was moved to the front of its priority, the later the lower."""
    project: str = "default"
    kcore: str | None = None
    """Digest of the kernel image it runs: a slot that ran the same one last is preferred."""


@dataclass(frozen=True)
class Placement:
    """This job runs on this slot, and `why` there of all that were free."""

    job_id: int
    slot_id: str
    why: str = field(default="", compare=False)


def place(
    candidates: Sequence[Candidate], free: Sequence[FreeSlot], shares: Mapping[str, Share] | None = None
) -> list[Placement]:
    """Give free slots to candidates in the order of `orchestrator.placement.order`.

    Of the slots that fit a job, in this order: one where it has not failed; one that few others are pinned to; one
    that ran its kernel image last; the first of `free`. A job that fits no free slot blocks nobody.
    """
    board = _Board(candidates, free)
    standing = dict(shares or {})
    placements = []
    for candidate in _in_turn(candidates, standing):
        if not board.free:
            break
        found = board.take(candidate)
        if found is not None:
            share = standing.get(candidate.project, UNUSED)
            standing[candidate.project] = share.charged(LEAST_CHARGE)
            placements.append(Placement(candidate.job_id, *found))
    return placements


def _in_turn(candidates: Sequence[Candidate], standing: Mapping[str, Share]) -> Iterator[Candidate]:
    """Every candidate when it is its turn, by what `standing` says at that moment."""
    queues: dict[tuple[int, str], deque[Candidate]] = defaultdict(deque)
    for candidate in sorted(candidates, key=lambda job: (job.rank, job.job_id)):
        queues[candidate.priority, candidate.project].append(candidate)

    def turn(urgency: int, project: str) -> tuple[tuple[int, int, float, int], int, str]:
        share, first = standing.get(project, UNUSED), queues[urgency, project][0]
        return place_in_line(urgency, first.rank, share, first.job_id), urgency, project

    turns = [turn(*key) for key in queues]
    heapq.heapify(turns)
    while turns:
        _, urgency, project = turns[0]
        now = turn(urgency, project)
        if now != turns[0]:
            # It got a slot at a higher urgency since: to its new place.
            heapq.heapreplace(turns, now)
            continue
        yield queues[urgency, project].popleft()
        if queues[urgency, project]:
            heapq.heapreplace(turns, turn(urgency, project))
        else:
            heapq.heappop(turns)


class _Board:
    """The slots that are still free, as each class of jobs wants them."""

    def __init__(self, candidates: Sequence[Candidate], free: Sequence[FreeSlot]) -> None:
        self._pinned = Counter(candidate.demand.only for candidate in candidates if candidate.demand.only)
        self._slots = sorted(free, key=self._claims)
        self.free = {slot.id for slot in free}
        self._by_demand: dict[Demand, deque[FreeSlot]] = {}
        self._by_kcore: dict[str | None, deque[FreeSlot]] = defaultdict(deque)
        for slot in self._slots:
            self._by_kcore[slot.kcore].append(slot)

    def take(self, candidate: Candidate) -> tuple[str, str] | None:
        """The slot for this candidate and why that one; None if no free slot fits it."""
        fitting = self._by_demand.get(candidate.demand)
        if fitting is None:
            fitting = deque(slot for slot in self._slots if candidate.demand.admits(slot))
            self._by_demand[candidate.demand] = fitting
        if not self._next(fitting):
            return None
        best, why = self._best(candidate, fitting)
        self.free.remove(best.id)
        return best.id, why

    def _best(self, candidate: Candidate, fitting: deque[FreeSlot]) -> tuple[FreeSlot, str]:
        if candidate.avoid:
            left = [slot for slot in fitting if slot.id in self.free]
            best = min(left, key=lambda slot: (slot.id in candidate.avoid, self._claims(slot), _cold(candidate, slot)))
            failed = best.id in candidate.avoid
            return best, "nothing else was free, though it failed here before" if failed else "it has not failed here"
        best = fitting[0]
        warm = self._warm(candidate, best)
        if warm is not None:
            return warm, "this slot ran the same kernel image last"
        if candidate.demand.only is not None:
            return best, f"the request names {candidate.demand.only}"
        if not any(slot.id in self.free for slot in islice(fitting, 1, None)):
            return best, "it was the only free slot that fits"
        if self._claims(best) < self._claims(fitting[-1]):
            return best, "other free slots are the only ones that some jobs may have"
        return best, "of the free slots that fit it was idle longest"

    def _warm(self, candidate: Candidate, best: FreeSlot) -> FreeSlot | None:
        """A slot that ran the candidate's kernel image last and is no worse than `best` otherwise."""
        if candidate.kcore is None or not _cold(candidate, best):
            return None if candidate.kcore is None else best
        same = self._by_kcore[candidate.kcore]
        self._next(same)
        fitting = (slot for slot in same if slot.id in self.free and candidate.demand.admits(slot))
        return next((slot for slot in fitting if self._claims(slot) == self._claims(best)), None)

    def _next(self, slots: deque[FreeSlot]) -> bool:
        """Bring a free slot to the front; False if none is left."""
        while slots and slots[0].id not in self.free:
            slots.popleft()
        return bool(slots)

    def _claims(self, slot: FreeSlot) -> int:
        """How many candidates name this slot."""
        return sum(self._pinned[name] for name in slot.names)


def _cold(candidate: Candidate, slot: FreeSlot) -> bool:
    """Whether another kernel image than the candidate's was on the slot last."""
    return candidate.kcore is not None and slot.kcore != candidate.kcore
