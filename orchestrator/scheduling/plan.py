"""What the next turn will do: `placement.place`, with as much of the queue read as it takes to decide.

Of each group few heads are read at first. Where all of them get slots, or slots are left that they may not have yet,
the next ones might get some: then more are read and all is decided again. No more of a group is read than free slots
are enough for, however long the queue.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from sqlalchemy.orm import Session

from orchestrator.jobs import shares
from orchestrator.model.demand import Demand
from orchestrator.model.shares import Share
from orchestrator.scheduling import queue
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.place import Plan, place
from orchestrator.scheduling.placement.supply import Supply
from orchestrator.scheduling.queue import Group, Known, Queued

FEWEST_HEADS = 4
"""Of a group that are read at first; deeper by this factor where it was not enough."""


@dataclass(frozen=True)
class Decided:
    """The jobs that were looked at, how projects stood, and the plan that was made of it."""

    candidates: Sequence[Candidate]
    shares: Mapping[str, Share]
    plan: Plan


def decide(session: Session, groups: Sequence[Group], slots: Supply, *, aging: timedelta) -> Decided:
    """The plan for these groups of the queue, which must be all there are."""
    most = {group: number for group, number in queue.rooms(groups, slots) if number}
    first = max(FEWEST_HEADS, 2 * len(slots.free) // max(1, len(most)))
    queued: dict[Group, list[Queued]] = {group: [] for group in most}
    depth = dict.fromkeys(most, 0)
    known: dict[int, Known] = {}
    standing = shares.all_shares(session, slots.now)
    short = list(most)
    while True:
        new: list[Queued] = []
        for group in short:
            before, depth[group] = depth[group], min(max(first, depth[group] * FEWEST_HEADS), most[group])
            last = queued[group][-1] if queued[group] else None
            queued[group] += (found := queue.heads(session, group, depth[group] - before, after=last))
            new += found
        known |= queue.known(session, new)
        # Once each: PostgreSQL shows what was committed last, so a job that somebody moves meanwhile may be read twice.
        every = list({job.job_id: job for group in most for job in queued[group]}.values())
        candidates = queue.candidates(every, known, now=slots.now, aging=aging)
        plan = place(candidates, slots, standing)
        unread = [group for group in most if len(queued[group]) == depth[group] < most[group]]
        short = _with_more_to_get(unread, queued, plan, slots) if unread else []
        if not short:
            return Decided(candidates, standing, plan)


def _with_more_to_get(
    groups: Sequence[Group], queued: Mapping[Group, Sequence[Queued]], plan: Plan, slots: Supply
) -> list[Group]:
    """Those of `groups` of which every job that was read starts, or for which slots are left."""
    started = {placement.job_id for placement in plan.placements}
    taken = {slot_id for placement in plan.placements for slot_id in placement.slot_ids}
    left = replace(slots, free=[slot for slot in slots.free if slot.id not in taken])
    return [
        group
        for group in groups
        if all(job.job_id in started for job in queued[group]) or queue.placeable([group], left)
    ]


def movable(session: Session, slots: Supply, *, aging: timedelta) -> bool:
    """Whether a turn would assign anything. Where slots may be kept for someone, only deciding can tell."""
    groups = queue.groups(session) if slots.free else []
    if not queue.placeable(groups, slots):
        return False
    keeping = bool(slots.windows) or any(Demand.parse(group.demand).slots > 1 for group in groups)
    return not keeping or bool(decide(session, groups, slots, aging=aging).plan.placements)
