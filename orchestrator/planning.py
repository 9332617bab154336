"""What the next turn will do: `placement.place`, with as much of the queue read as it takes to decide.

Of each group few heads are read at first. If all of them get slots, the next ones might too, before others: then more
are read and all is decided again, so that the plan is that of the whole queue.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.orm import Session

from orchestrator import lineup, shares
from orchestrator.lineup import Group, Queued
from orchestrator.placement.candidate import Candidate
from orchestrator.placement.demand import Demand
from orchestrator.placement.place import Plan, place
from orchestrator.placement.supply import Supply

FEWEST_HEADS = 4
"""Of a group that are read at first; deeper by this factor where it was not enough."""


@dataclass(frozen=True)
class Decided:
    """The jobs that were looked at, and what becomes of them."""

    candidates: Sequence[Candidate]
    plan: Plan


def decide(session: Session, groups: Sequence[Group], slots: Supply, *, aging: timedelta) -> Decided:
    """The plan for these groups of the queue, as if every job of them had been looked at."""
    most = {group: number for group, number in lineup.rooms(groups, slots) if number}
    first = max(FEWEST_HEADS, 2 * len(slots.free) // max(1, len(most)))
    depth = {group: min(first, number) for group, number in most.items()}
    queued: dict[Group, list[Queued]] = {}
    standing = shares.all_shares(session, slots.now)
    while True:
        for group in depth.keys() - queued.keys():
            queued[group] = lineup.heads(session, group, depth[group])
        every = [job for group in most for job in queued[group]]
        candidates = lineup.candidates(session, every, now=slots.now, aging=aging)
        plan = place(candidates, slots, standing)
        placed = {placement.job_id for placement in plan.placements}
        starting = Counter(job.group for job in every if job.job_id in placed)
        short = [group for group, number in starting.items() if number == depth[group] < most[group]]
        if not short:
            return Decided(candidates, plan)
        for group in short:
            depth[group] = min(depth[group] * FEWEST_HEADS, most[group])
            del queued[group]


def movable(session: Session, slots: Supply, *, aging: timedelta) -> bool:
    """Whether a turn would assign anything. Where slots may be kept for someone, only deciding can tell."""
    groups = lineup.groups(session) if slots.free else []
    if not lineup.placeable(groups, slots):
        return False
    keeping = bool(slots.windows) or any(Demand.parse(group.demand).slots > 1 for group in groups)
    return not keeping or bool(decide(session, groups, slots, aging=aging).plan.placements)
