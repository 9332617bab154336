"""What the next turn will do: `placement.place`, reading only as much of the queue as needed to decide.

First a few jobs at the head of each queue class are read. Where all of them get slots, or slots remain that they must
not use yet, later jobs might get some: then more are read and everything is decided again. From a class, never more
jobs are read than fit on the free slots, however long the queue.
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
from orchestrator.scheduling.placement.place import PlacementPlan, place
from orchestrator.scheduling.placement.supply import Supply
from orchestrator.scheduling.queue import Known, QueueClass, Queued

FEWEST_HEADS = 4
"""Jobs of a queue class that are read first, and the factor by which more are read if these were not enough."""


@dataclass(frozen=True)
class Decided:
    """The jobs that were considered, the usage of projects, and the resulting plan."""

    candidates: Sequence[Candidate]
    shares: Mapping[str, Share]
    plan: PlacementPlan


def decide(session: Session, classes: Sequence[QueueClass], slots: Supply, *, aging: timedelta) -> Decided:
    """The plan for these queue classes, which must be all existing ones."""
    most = {each: number for each, number in queue.rooms(classes, slots) if number}
    first = max(FEWEST_HEADS, 2 * len(slots.free) // max(1, len(most)))
    queued: dict[QueueClass, list[Queued]] = {each: [] for each in most}
    depth = dict.fromkeys(most, 0)
    known: dict[int, Known] = {}
    standing = shares.all_shares(session, slots.now)
    short = list(most)
    while True:
        new: list[Queued] = []
        for each in short:
            before, depth[each] = depth[each], min(max(first, depth[each] * FEWEST_HEADS), most[each])
            last = queued[each][-1] if queued[each] else None
            queued[each] += (found := queue.heads(session, each, depth[each] - before, after=last))
            new += found
        known |= queue.known(session, new)
        # Once each: PostgreSQL shows the latest commits, so a job that is moved meanwhile may be read twice.
        every = list({job.job_id: job for each in most for job in queued[each]}.values())
        candidates = queue.candidates(every, known, now=slots.now, aging=aging)
        plan = place(candidates, slots, standing)
        unread = [each for each in most if len(queued[each]) == depth[each] < most[each]]
        short = _with_more_to_get(unread, queued, plan, slots) if unread else []
        if not short:
            return Decided(candidates, standing, plan)


def _with_more_to_get(
    classes: Sequence[QueueClass], queued: Mapping[QueueClass, Sequence[Queued]], plan: PlacementPlan, slots: Supply
) -> list[QueueClass]:
    """Those of `classes` in which every job that was read starts, or for which slots remain."""
    started = {placement.job_id for placement in plan.placements}
    taken = {slot_id for placement in plan.placements for slot_id in placement.slot_ids}
    left = replace(slots, free=[slot for slot in slots.free if slot.id not in taken])
    return [
        each for each in classes if all(job.job_id in started for job in queued[each]) or queue.placeable([each], left)
    ]


def movable(session: Session, slots: Supply, *, aging: timedelta) -> bool:
    """Whether a turn would assign anything. If slots may be set aside, only a full plan shows that."""
    classes = queue.classes(session) if slots.free else []
    if not queue.placeable(classes, slots):
        return False
    may_wait = bool(slots.windows) or any(Demand.parse(each.demand).slots > 1 for each in classes)
    return not may_wait or bool(decide(session, classes, slots, aging=aging).plan.placements)
