"""`place`: the one decision of the scheduler, from a snapshot to placements."""

import heapq
from collections import defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from orchestrator.model.demand import Demand, FreeSlot
from orchestrator.model.shares import LEAST_CHARGE, UNUSED, Share
from orchestrator.scheduling.placement.board import Board
from orchestrator.scheduling.placement.candidate import Candidate, Placement
from orchestrator.scheduling.placement.gathering import Gathering
from orchestrator.scheduling.placement.order import place_in_line
from orchestrator.scheduling.placement.supply import Supply


@dataclass(frozen=True)
class PlacementPlan:
    """What one turn does: which jobs start, and which slots are set aside for waiting gangs."""

    placements: Sequence[Placement]
    gatherings: Sequence[Gathering]


def place(candidates: Sequence[Candidate], supply: Supply, shares: Mapping[str, Share] | None = None) -> PlacementPlan:
    """Give free slots to candidates in the order of `orchestrator.scheduling.placement.order`.

    Of the slots that fit a job, in this order: one where it has not failed; one that few others are pinned to; one
    that ran its kernel image last; while gangs wait, one of the host that has the fewest free; the first of `free`. A
    gang gets all its slots at once, on the host with the fewest free ones that are enough, or one host sets slots
    aside for it (see `board`). If no host in service has enough slots for it, none are set aside, and it blocks no
    other job.
    """
    board = Board(candidates, supply)
    standing = dict(shares or {})
    placements = []
    for candidate in _in_turn(candidates, standing):
        if board.finished:
            break
        found = board.give(candidate)
        if found is not None:
            share = standing.get(candidate.project, UNUSED)
            standing[candidate.project] = share.charged(LEAST_CHARGE * len(found.slot_ids))
            placements.append(found)
        elif candidate.demand.slots > 1:
            board.gather(candidate)
    return PlacementPlan(placements, list(board.gatherings.values()))


def following(
    candidates: Sequence[Candidate], takers: Sequence[FreeSlot], shares: Mapping[str, Share], most: int
) -> list[Candidate]:
    """The first `most` candidates in the order of `place` that some taker admits.

    Whichever of these slots becomes free alone, `place` would give it the first of them that it admits, if those before
    it have started. The line ends before a job for which that is not so: a gang, for which slots may have to be set
    aside; a job that should not return to a slot where it failed; a canary, and a job that sets a host up.
    """
    standing, found = dict(shares), list[Candidate]()
    admitted: dict[Demand, bool] = {}
    for candidate in _in_turn(candidates, standing):
        demand = candidate.demand
        if demand not in admitted:
            admitted[demand] = any(demand.admits(slot) for slot in takers)
        if not admitted[demand]:
            continue
        if demand.slots > 1 or candidate.avoid or demand.canary or demand.provision or len(found) == most:
            break
        standing[candidate.project] = standing.get(candidate.project, UNUSED).charged(LEAST_CHARGE)
        found.append(candidate)
    return found


def _in_turn(candidates: Sequence[Candidate], standing: Mapping[str, Share]) -> Iterator[Candidate]:
    """Every candidate in order, by its `standing` at that moment."""
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
            # Its project got a slot meanwhile: move its queue to the new place.
            heapq.heapreplace(turns, now)
            continue
        yield queues[urgency, project].popleft()
        if queues[urgency, project]:
            heapq.heapreplace(turns, turn(urgency, project))
        else:
            heapq.heappop(turns)
