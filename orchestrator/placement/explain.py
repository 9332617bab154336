"""`explain`: everything that a job waits for, from the same snapshot and by the same function that places it."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum

from orchestrator.model.states import JobState, ServiceState
from orchestrator.placement.demand import Demand, FreeSlot
from orchestrator.placement.order import UNUSED, Share
from orchestrator.placement.place import Candidate, Placement, place

_QUARANTINED = ServiceState.QUARANTINED


class WaitsFor(StrEnum):
    """What may keep a job from running; a job waits for all that is told of it."""

    NEEDS_JOB = "needs_job"
    """Another job has to succeed first."""
    BATCH_OPEN = "batch_open"
    """The other jobs of its batch are still being written."""
    IDENTICAL_BUILD_UNDER_WAY = "identical_build_under_way"
    """The same build is in the queue or runs already; its result will be taken."""
    HELD = "held"
    """A person holds it back until it is released."""
    NO_SUCH_SLOT_ALIVE = "no_such_slot_alive"
    """No slot that the request allows has a live worker, or there is none at all."""
    SLOT_BUSY = "slot_busy"
    """Another job has this slot, until `until` at the latest, if it is known."""
    SLOT_DRAINING = "slot_draining"
    """This slot is being taken, or was taken, out of service."""
    SLOT_QUARANTINED = "slot_quarantined"
    """This slot is suspect, and only its own check may run there."""
    EXCLUDED = "excluded"
    """The request excludes this slot."""
    BEHIND_IN_QUEUE = "behind_in_queue"
    """Jobs that are more urgent or older come first: `count` of its class, `job_id` the next of them."""
    OTHER_PROJECT_FIRST = "other_project_first"
    """Another project has had less of its share."""
    WORKER_AWAY = "worker_away"
    """The worker of this slot gives no sign of life."""
    ASSIGNED_NOT_CLAIMED = "assigned_not_claimed"
    """The slot is leased to it; the slot's worker has not taken it yet."""
    DISPATCHER_AWAY = "dispatcher_away"
    """No dispatcher leads, so nothing is placed at all."""


@dataclass(frozen=True)
class Reason:
    """One thing a job waits for: in one word, in a sentence, and who or what it is."""

    kind: WaitsFor
    detail: str
    job_id: int | None = None
    slot_id: str | None = None
    project: str | None = None
    count: int | None = None
    until: datetime | None = None


@dataclass(frozen=True)
class Holder:
    """The job that has a slot: until when at the latest, and when it will end if it takes as long as such jobs do."""

    job_id: int
    latest: datetime | None = None
    expected: datetime | None = None


@dataclass(frozen=True)
class Standing:
    """A slot, whatever it is doing."""

    slot: FreeSlot
    alive: bool = True
    service: ServiceState = ServiceState.IN_SERVICE
    holder: Holder | None = None

    @property
    def serving(self) -> bool:
        """Whether it takes jobs: now, or when its holder has ended."""
        return self.alive and self.service is ServiceState.IN_SERVICE

    @property
    def free(self) -> bool:
        """Whether `place` may have it."""
        return self.alive and self.holder is None and self.service in (ServiceState.IN_SERVICE, _QUARANTINED)

    @property
    def offered(self) -> FreeSlot:
        """How `place` sees it while it is free."""
        return replace(self.slot, quarantined=self.service is _QUARANTINED)

    def serves(self, demand: Demand) -> bool:
        """Whether it takes jobs of this class: now, or when its holder has ended."""
        return self.serving or (self.alive and demand.canary and self.service is _QUARANTINED)


@dataclass(frozen=True)
class Need:
    """Another job that has to succeed first."""

    job_id: int
    name: str
    state: JobState


@dataclass(frozen=True)
class Subject:
    """The job that is explained. `candidate` is how placing sees it."""

    candidate: Candidate
    state: JobState
    needs: Sequence[Need] = ()
    joined_to: int | None = None
    open_batch: int | None = None
    """Its batch, while that is still being written."""
    held: str | None = None
    """Who holds it back, since when and why; None unless it is held."""
    slot_id: str | None = None
    """Where it is assigned."""
    ahead: int = 0
    """Jobs of its class that come before it, whatever the shares of projects will be; held ones do not."""
    next_job: int | None = None
    """The first of them."""
    seconds: float = 0.0
    """How long such a job takes."""


@dataclass(frozen=True)
class Snapshot:
    """All that placing looks at, at one moment. `candidates` include the subject if it is queued."""

    now: datetime
    slots: Sequence[Standing] = ()
    candidates: Sequence[Candidate] = ()
    shares: Mapping[str, Share] = field(default_factory=dict)
    dispatcher_alive: bool = True

    def placements(self) -> list[Placement]:
        """What the next turn will do."""
        return place(self.candidates, [standing.offered for standing in self.slots if standing.free], self.shares)


def explain(job: Subject, seen: Snapshot) -> list[Reason]:
    """Everything the job waits for; empty exactly if the next turn moves it on, or if it waits no more."""
    match job.state:
        case JobState.WAITING:
            return [*_dispatcher(seen), *_held(job), *_needed(job)]
        case JobState.QUEUED:
            return [*_dispatcher(seen), *_held(job), *_unplaced(job, seen)]
        case JobState.ASSIGNED:
            return list(_unclaimed(job, seen))
        case _:
            return []


def earliest_start(job: Subject, seen: Snapshot) -> datetime | None:
    """When a job that is queued or assigned will start if all before it take as long as such jobs do.

    None where it cannot be said: it is held, inputs are missing, no slot for it serves, or a process is away. What
    other projects will submit or have queued is not counted, so it may be later; it is earlier if jobs end early.
    """
    demand = job.candidate.demand
    fitting = [standing for standing in seen.slots if demand.admits(standing.slot) and standing.serves(demand)]
    if job.state is JobState.ASSIGNED:
        return seen.now if any(standing.slot.id == job.slot_id for standing in fitting) else None
    if job.state is not JobState.QUEUED or job.held is not None or not fitting or not seen.dispatcher_alive:
        return None
    if not list(_unplaced(job, seen)):
        return seen.now
    takes = timedelta(seconds=job.seconds)
    taken = {placement.slot_id: placement.job_id for placement in seen.placements()}
    free_at = [_free_at(standing, seen.now, standing.slot.id in taken, takes) for standing in fitting]
    heapq.heapify(free_at)
    placed = [candidate for candidate in seen.candidates if candidate.job_id in taken.values()]
    for _ in range(job.ahead - sum(_is_ahead(candidate, job.candidate) for candidate in placed)):
        heapq.heapreplace(free_at, free_at[0] + takes)
    return free_at[0]


def _is_ahead(other: Candidate, mine: Candidate) -> bool:
    """Whether `other` is one of those that `Subject.ahead` counts."""
    theirs, own = (-other.priority, other.rank), (-mine.priority, mine.rank)
    older = other.project == mine.project and theirs == own and other.job_id < mine.job_id
    return other.demand == mine.demand and (theirs < own or older)


def _free_at(standing: Standing, now: datetime, taken: bool, takes: timedelta) -> datetime:
    if standing.holder is not None:
        return max(now, standing.holder.expected or now)
    return now + takes if taken else now


def _dispatcher(seen: Snapshot) -> Iterator[Reason]:
    if not seen.dispatcher_alive:
        yield Reason(WaitsFor.DISPATCHER_AWAY, "no dispatcher leads; start one: tx81 dispatcher")


def _held(job: Subject) -> Iterator[Reason]:
    if job.held is not None:
        yield Reason(WaitsFor.HELD, job.held)


def _needed(job: Subject) -> Iterator[Reason]:
    if job.open_batch is not None:
        yield Reason(WaitsFor.BATCH_OPEN, f"the other jobs of batch {job.open_batch} are still being written")
    for need in job.needs:
        if need.state is not JobState.SUCCEEDED:
            detail = f"job {need.job_id} ({need.name}) has to succeed first; it is {need.state}"
            yield Reason(WaitsFor.NEEDS_JOB, detail, job_id=need.job_id)
    if job.joined_to is not None:
        detail = f"job {job.joined_to} is building the same; its result will be taken"
        yield Reason(WaitsFor.IDENTICAL_BUILD_UNDER_WAY, detail, job_id=job.joined_to)


def _unclaimed(job: Subject, seen: Snapshot) -> Iterator[Reason]:
    detail = f"{job.slot_id} is leased to it; the slot's worker has been rung and has not taken it yet"
    yield Reason(WaitsFor.ASSIGNED_NOT_CLAIMED, detail, slot_id=job.slot_id)
    yield from (_away(each) for each in seen.slots if each.slot.id == job.slot_id and not each.alive)


def _unplaced(job: Subject, seen: Snapshot) -> Iterator[Reason]:
    placements = seen.placements()
    if any(placement.job_id == job.candidate.job_id for placement in placements):
        return
    demand = job.candidate.demand
    fitting = [standing for standing in seen.slots if demand.admits(standing.slot)]
    if not any(standing.alive for standing in fitting):
        known = ", ".join(standing.slot.id for standing in fitting) or "none is registered"
        detail = f"no slot with a live worker fits {demand.key()!r} ({known})"
        yield Reason(WaitsFor.NO_SUCH_SLOT_ALIVE, detail)
    for standing in seen.slots:
        if demand.selects(standing.slot) and demand.excludes(standing.slot):
            detail = f"the request excludes {standing.slot.id}"
            yield Reason(WaitsFor.EXCLUDED, detail, slot_id=standing.slot.id)
    for standing in fitting:
        yield from _occupied(standing, demand)
    yield from _before(job, seen, placements)


def _occupied(standing: Standing, demand: Demand) -> Iterator[Reason]:
    slot_id, holder = standing.slot.id, standing.holder
    if not standing.alive:
        yield _away(standing)
    match standing.service:
        case ServiceState.QUARANTINED if not demand.canary:
            yield Reason(WaitsFor.SLOT_QUARANTINED, f"{slot_id} is quarantined", slot_id=slot_id)
        case ServiceState.DRAINING | ServiceState.DRAINED:
            detail = f"{slot_id} is {standing.service}; resume it to have it back"
            yield Reason(WaitsFor.SLOT_DRAINING, detail, slot_id=slot_id)
    if holder is not None:
        latest = f", until {holder.latest:%Y-%m-%d %H:%M:%S} UTC at the latest" if holder.latest else ""
        detail = f"job {holder.job_id} has {slot_id}{latest}"
        yield Reason(WaitsFor.SLOT_BUSY, detail, holder.job_id, slot_id, until=holder.latest)


def _away(standing: Standing) -> Reason:
    detail = f"the worker of {standing.slot.id} gives no sign of life"
    return Reason(WaitsFor.WORKER_AWAY, detail, slot_id=standing.slot.id)


def _before(job: Subject, seen: Snapshot, placements: Sequence[Placement]) -> Iterator[Reason]:
    """Who comes first: in its class, and of other classes those that get a slot it could have."""
    mine = job.candidate
    if job.ahead:
        detail = f"{job.ahead} jobs like it are more urgent or older; the next of them is job {job.next_job}"
        yield Reason(WaitsFor.BEHIND_IN_QUEUE, detail, job.next_job, count=job.ahead)
    standing = seen.shares.get(mine.project, UNUSED).standing
    slots = {placement.job_id: placement.slot_id for placement in placements}
    fits = {each.slot.id for each in seen.slots if mine.demand.admits(each.slot)}
    told = set()
    for other in sorted(seen.candidates, key=lambda candidate: candidate.job_id):
        rival = other.demand == mine.demand or slots.get(other.job_id) in fits
        if other.job_id == mine.job_id or not rival:
            continue
        if other.project != mine.project and (other.priority, other.rank) == (mine.priority, mine.rank):
            theirs = seen.shares.get(other.project, UNUSED).standing
            if other.project not in told and (theirs < standing or other.job_id in slots):
                told.add(other.project)
                detail = (
                    f"project {other.project} has had {theirs:.0f} slot-seconds for each unit of its weight, "
                    f"{mine.project} {standing:.0f}"
                )
                yield Reason(WaitsFor.OTHER_PROJECT_FIRST, detail, other.job_id, project=other.project)
        elif other.demand != mine.demand:
            detail = f"job {other.job_id} is more urgent or older, and gets {slots[other.job_id]}"
            yield Reason(WaitsFor.BEHIND_IN_QUEUE, detail, other.job_id, slots[other.job_id])
