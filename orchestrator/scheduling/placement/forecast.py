"""`earliest_start`: when a job will start if all before it take as long as such jobs do."""

import heapq
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from orchestrator.model.demand import FreeSlot, hosts_with_enough
from orchestrator.model.states import JobState
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.snapshot import ExplainedJob, Snapshot, Standing


def earliest_start(job: ExplainedJob, seen: Snapshot) -> datetime | None:
    """When a job that is queued or assigned will start.

    None if that is unknown: it is held, inputs are missing, too few slots are in service, or a process is away. Jobs
    that other projects will submit or have queued are not counted, so it may be later; it is earlier if jobs end early.
    """
    demand = job.candidate.demand
    if job.state is JobState.ASSIGNED:
        taken = any(standing.slot.id == job.slot_id and standing.takes(demand) for standing in seen.slots)
        return seen.now if taken else None
    entered = (each.slot for each in seen.slots if each.takes(demand))
    hosts = hosts_with_enough(demand, entered)
    if job.state is not JobState.QUEUED or job.held is not None or not hosts or not seen.dispatcher_alive:
        return None
    if seen.starts(job.candidate):
        return seen.now
    return _after_those_ahead(job, seen, hosts)


def _after_those_ahead(job: ExplainedJob, seen: Snapshot, hosts: Mapping[str, Sequence[FreeSlot]]) -> datetime:
    """Assign every job ahead to the host that first has enough slots, then this job."""
    mine, takes = job.candidate, timedelta(seconds=job.seconds)
    standings = {standing.slot.id: standing for standing in seen.slots}
    free_at = {
        host: sorted(_free_at(standings[slot.id], seen, mine, takes) for slot in slots) for host, slots in hosts.items()
    }
    last = mine.demand.slots - 1
    line = [(times[last], host) for host, times in free_at.items()]
    heapq.heapify(line)
    placed = set(seen.taken.values())
    starting = sum(each.job_id in placed and _is_ahead(each, mine) for each in seen.candidates)
    for _ in range(job.ahead - starting):
        start, host = line[0]
        times = free_at[host]
        times[: last + 1] = [start + takes] * (last + 1)
        times.sort()
        heapq.heapreplace(line, (times[last], host))
    return line[0][0]


def _free_at(standing: Standing, seen: Snapshot, mine: Candidate, takes: timedelta) -> datetime:
    """When the slot is free for this job, counting the jobs that have it, get it, or have it set aside."""
    slot = standing.slot
    at = seen.now
    if standing.occupant is not None:
        at = max(at, standing.occupant.expected)
    elif slot.id in seen.taken:
        at += takes
    gathering = seen.gang_before(slot, mine)
    if gathering is not None:
        at = max(at, gathering.ends_at)
    while (window := seen.closing(slot, mine, at)) is not None:
        at = window.ends_at
    return at


def _is_ahead(other: Candidate, mine: Candidate) -> bool:
    """Whether `other` is one of those that `ExplainedJob.ahead` counts."""
    theirs, own = (-other.priority, other.rank), (-mine.priority, mine.rank)
    older = other.project == mine.project and theirs == own and other.job_id < mine.job_id
    return other.demand.unlimited == mine.demand.unlimited and (theirs < own or older)
