"""`place`: the one decision of the scheduler, from a snapshot to placements."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.placement.demand import Demand, FreeSlot


@dataclass(frozen=True)
class Candidate:
    """A queued job; of one priority the lowest `rank` comes first.

    `avoid` are slots where it failed before: taken only when nothing else is free.
    """

    job_id: int
    demand: Demand
    priority: int
    avoid: frozenset[str] = frozenset()
    rank: int = 0


@dataclass(frozen=True)
class Placement:
    """This job runs on this slot."""

    job_id: int
    slot_id: str


def place(candidates: Sequence[Candidate], free: Sequence[FreeSlot]) -> list[Placement]:
    """Give free slots to candidates: highest priority first, then what was moved to the front, then oldest.

    A job that may run anywhere leaves the slots that others are pinned to for them, if it can. A job that fits no free
    slot blocks nobody.
    """
    left = list(free)
    pinned = Counter(candidate.demand.only for candidate in candidates if candidate.demand.only)
    placements = []
    for candidate in sorted(candidates, key=lambda job: (-job.priority, job.rank, job.job_id)):
        eligible = [slot for slot in left if candidate.demand.admits(slot)]
        if not eligible:
            continue
        best = min(
            eligible,
            key=lambda slot: (slot.id in candidate.avoid, pinned[slot.id] + pinned[str(slot.name)], left.index(slot)),
        )
        left.remove(best)
        placements.append(Placement(candidate.job_id, best.id))
    return placements
