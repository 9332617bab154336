"""`explain`: everything that a job waits for, from the same snapshot and by the same function that places it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import ConfigDict, Field

from orchestrator.model.demand import Demand, FreeSlot, hosts_with_enough
from orchestrator.model.lacks import DISK, PORT, Lack
from orchestrator.model.shares import UNUSED
from orchestrator.model.states import JobState, ServiceState, Until
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.snapshot import ExplainedJob, Occupant, Snapshot, Standing


class WaitsFor(StrEnum):
    """What may stop a job from running; a job waits for all that is listed."""

    NEEDS_JOB = "needs_job"
    """Another job has to succeed first, or a server has to be ready."""
    BATCH_OPEN = "batch_open"
    """The other jobs of its batch are still being written."""
    IDENTICAL_BUILD_UNDER_WAY = "identical_build_under_way"
    """The same build is in the queue or runs already; its result is taken if it succeeds."""
    PAUSE_AFTER_FAULT = "pause_after_fault"
    """It is queued again at `until`, as the profile asks for after its latest fault."""
    HELD = "held"
    """A person holds it until the hold is removed."""
    NO_SUCH_SLOT_ALIVE = "no_such_slot_alive"
    """No slot that the request allows has a live worker, or no such slot exists."""
    SLOT_BUSY = "slot_busy"
    """Another job has this slot, and reaches its run limit at `until`, if it has started."""
    SLOT_DRAINING = "slot_draining"
    """This slot is being taken, or was taken, out of service."""
    SLOT_QUARANTINED = "slot_quarantined"
    """This slot is suspect, and only its own check may run there."""
    EXCLUDED = "excluded"
    """The request excludes this slot."""
    LACKS_RELEASE = "lacks_release"
    """The tools were not found on the host of this slot."""
    LACKS_DISK = "lacks_disk"
    """The disk of this slot's host is full."""
    LACKS_PORT = "lacks_port"
    """The host of this slot has no free port for a server."""
    BEHIND_IN_QUEUE = "behind_in_queue"
    """Jobs that are more urgent or older come first: `count` of its class, `job_id` the next of them."""
    OTHER_PROJECT_FIRST = "other_project_first"
    """Another project has had less of its share."""
    GATHERING = "gathering"
    """It needs several slots of one host at once: `host` has `count` for it now."""
    KEPT_FOR_GANG = "kept_for_gang"
    """This slot is set aside for job `job_id`, a gang, until `until`, and this job might not end before."""
    RESERVED = "reserved"
    """This slot is reserved for people or for `project` until `until`, or will be before this job has to end."""
    WORKER_AWAY = "worker_away"
    """No heartbeat from the worker of this slot."""
    WORKER_DEAF = "worker_deaf"
    """The worker of this slot does not receive its doorbell messages."""
    ASSIGNED_NOT_CLAIMED = "assigned_not_claimed"
    """The slot is leased to the job; the slot's worker has not claimed it yet."""
    BELL_NOT_HEARD = "bell_not_heard"
    """The slot's worker is alive and does not receive the job's doorbells: the broker does not answer, or is a
    different one."""
    DISPATCHER_AWAY = "dispatcher_away"
    """No dispatcher leads, so nothing is placed at all."""
    BROKER_TROUBLE = "broker_trouble"
    """The dispatcher's broker does not answer, or others use it, or workers use another one."""


@dataclass(frozen=True)
class WaitReason:
    """One thing that a job waits for: as one word, as a sentence, and the job, slot or host that it refers to."""

    __pydantic_config__ = ConfigDict(json_schema_serialization_defaults_required=True)

    kind: WaitsFor
    detail: str
    job_id: int | None = None
    slot_id: str | None = None
    project: str | None = None
    host: Annotated[str | None, Field(description="For gathering: the host that has some of the slots it needs.")] = (
        None
    )
    count: Annotated[
        int | None,
        Field(description="For behind_in_queue: jobs of its class before it; for gathering: free slots of `host`."),
    ] = None
    until: Annotated[
        datetime | None,
        Field(
            description="For slot_busy: when the job on the slot reaches its run limit, if it has started; for "
            "gathering and kept_for_gang: when the gang starts at the latest; for reserved: when the reservation ends; "
            "for pause_after_fault: when it is queued again."
        ),
    ] = None


def explain(job: ExplainedJob, seen: Snapshot) -> list[WaitReason]:
    """Everything the job waits for; empty exactly if the next turn changes its state, or if it is not waiting."""
    match job.state:
        case JobState.WAITING:
            return [*_dispatcher(seen), *_broker(seen), *_held(job), *_needed(job), *_paused(job, seen)]
        case JobState.QUEUED:
            return [*_dispatcher(seen), *_held(job), *_unplaced(job, seen)]
        case JobState.ASSIGNED:
            return [*_broker(seen), *_unclaimed(job, seen)]
        case _:
            return []


def _dispatcher(seen: Snapshot) -> Iterator[WaitReason]:
    if not seen.dispatcher_alive:
        yield WaitReason(WaitsFor.DISPATCHER_AWAY, "no dispatcher leads; start one: tx81 dispatcher")


def _broker(seen: Snapshot) -> Iterator[WaitReason]:
    if seen.broker is not None:
        yield WaitReason(WaitsFor.BROKER_TROUBLE, seen.broker)


def _held(job: ExplainedJob) -> Iterator[WaitReason]:
    if job.held is not None:
        yield WaitReason(WaitsFor.HELD, job.held)


def _needed(job: ExplainedJob) -> Iterator[WaitReason]:
    if job.open_batch is not None:
        yield WaitReason(WaitsFor.BATCH_OPEN, f"the other jobs of batch {job.open_batch} are still being written")
    for need in job.needs:
        if not need.met:
            far = "be ready" if need.until is Until.READY else "succeed"
            detail = f"job {need.job_id} ({need.name}) has to {far} first; it is {need.state}"
            yield WaitReason(WaitsFor.NEEDS_JOB, detail, job_id=need.job_id)
    if job.joined_to is not None:
        detail = f"job {job.joined_to}, {job.joined_state}, is the same build; its result is taken if it succeeds"
        yield WaitReason(WaitsFor.IDENTICAL_BUILD_UNDER_WAY, detail, job_id=job.joined_to)


def _paused(job: ExplainedJob, seen: Snapshot) -> Iterator[WaitReason]:
    if job.not_before is not None and job.not_before > seen.now:
        detail = "the profile asks for a pause after its latest fault"
        yield WaitReason(WaitsFor.PAUSE_AFTER_FAULT, detail, until=job.not_before)


def _unclaimed(job: ExplainedJob, seen: Snapshot) -> Iterator[WaitReason]:
    detail = f"{job.slot_id} is leased to it; the slot's worker has not started it yet"
    yield WaitReason(WaitsFor.ASSIGNED_NOT_CLAIMED, detail, slot_id=job.slot_id)
    standing = next((each for each in seen.slots if each.slot.id == job.slot_id), None)
    if standing is not None and not standing.alive:
        yield _away(standing)
    elif standing is not None and job.rung_since is not None:
        detail = (
            f"the worker of {job.slot_id} sends heartbeats, was notified more than once since "
            f"{_moment(job.rung_since)}, and has not started it; if this lasts, the broker does not answer, or worker "
            "and dispatcher use different ones: compare their TX81_BROKER_URL and logs"
        )
        yield WaitReason(WaitsFor.BELL_NOT_HEARD, detail, slot_id=job.slot_id)


def _unplaced(job: ExplainedJob, seen: Snapshot) -> Iterator[WaitReason]:
    mine = job.candidate
    if seen.starts(mine):
        return
    yield from _broker(seen)
    demand = mine.demand
    in_order = sorted(seen.slots, key=lambda each: (each.slot.host, each.slot.name.kind, each.slot.name.index))
    fitting = [standing for standing in in_order if demand.admits(standing.slot)]
    if not hosts_with_enough(demand, (each.slot for each in fitting if each.alive)):
        yield _none_alive(demand, fitting, seen)
    for standing in in_order:
        if demand.selects(standing.slot) and demand.excludes(standing.slot):
            detail = f"the request excludes {standing.slot.id}"
            yield WaitReason(WaitsFor.EXCLUDED, detail, slot_id=standing.slot.id)
        elif demand.selects(standing.slot) and demand.misses(standing.slot):
            yield from (_lacking(standing, standing.lacks[name]) for name in demand.missing(standing.slot))
    yield from _gathering(job, seen)
    for standing in fitting:
        yield from _occupied(standing, demand, seen.now)
        if standing.free:
            yield from _closed(job, seen, standing.slot)
    yield from _before(job, seen)


def _none_alive(demand: Demand, fitting: Sequence[Standing], seen: Snapshot) -> WaitReason:
    known = ", ".join(standing.slot.id for standing in fitting)
    if known:
        known = f"registered: {known}"
    elif any(demand.selects(each.slot) for each in seen.slots):
        known = "all that it names are excluded, or their hosts lack what it needs"
    else:
        known = "none is registered"
    some = "there is no slot" if demand.slots == 1 else f"no host has {demand.slots} slots"
    detail = f"{some} with a worker that takes jobs and that fits {demand.unlimited.key()!r} ({known})"
    return WaitReason(WaitsFor.NO_SUCH_SLOT_ALIVE, detail)


_LACKS = {DISK: WaitsFor.LACKS_DISK, PORT: WaitsFor.LACKS_PORT}


def _lacking(standing: Standing, lack: Lack) -> WaitReason:
    until = "its worker is restarted" if lack.until is None else "its worker finds that it is there again"
    detail = f"{standing.slot.id} is excluded since {_moment(lack.since)} until {until}: {lack.why}"
    kind = _LACKS.get(lack.name, WaitsFor.LACKS_RELEASE)
    return WaitReason(kind, detail, slot_id=standing.slot.id, host=standing.slot.host, until=lack.until)


def _gathering(job: ExplainedJob, seen: Snapshot) -> Iterator[WaitReason]:
    """For each host with enough slots for a gang: how many are free, and on which host slots are set aside for it."""
    mine, demand = job.candidate, job.candidate.demand
    serving = (standing.slot for standing in seen.slots if standing.takes(demand))
    hosts = hosts_with_enough(demand, serving) if demand.slots > 1 else {}
    free = {slot.id for slot in seen.supply.free} - seen.taken.keys()
    for host, slots in hosts.items():
        open_ones = (each for each in slots if not seen.closing(each, mine) and not seen.gang_before(each, mine))
        count, until = sum(slot.id in free for slot in open_ones), None
        if count >= demand.slots:
            continue
        detail = f"{host} has {count} of the {demand.slots} slots that it needs at once"
        for gathering in seen.plan.gatherings:
            if (gathering.job_id, gathering.host) == (mine.job_id, host):
                until = gathering.starts_at
                detail += f"; {', '.join(gathering.slot_ids)} are set aside for it, from {_moment(until)} at the latest"
        yield WaitReason(WaitsFor.GATHERING, detail, count=count, until=until, host=host)


def _closed(job: ExplainedJob, seen: Snapshot, slot: FreeSlot) -> Iterator[WaitReason]:
    """Why a job must not use a free slot."""
    ends = f"this job, which may run until {_moment(seen.now + job.candidate.run_limit)}"
    gathering = seen.gang_before(slot, job.candidate)
    if gathering is not None:
        detail = (
            f"{slot.id} is set aside for job {gathering.job_id}, which needs {len(gathering.slot_ids)} slots of "
            f"{gathering.host}, from {_moment(gathering.starts_at)} at the latest; {ends}, might not end before"
        )
        yield WaitReason(WaitsFor.KEPT_FOR_GANG, detail, gathering.job_id, slot.id, until=gathering.starts_at)
    window = seen.closing(slot, job.candidate)
    if window is not None:
        whose = f" for project {window.project}" if window.project else ""
        note = f" ({window.note})" if window.note else ""
        detail = (
            f"{slot.id} is reserved by {window.by}{whose} from {_moment(window.starts_at)} until "
            f"{_moment(window.ends_at)}{note}; {ends}, would overlap with it"
        )
        yield WaitReason(WaitsFor.RESERVED, detail, slot_id=slot.id, project=window.project, until=window.ends_at)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"


def _occupied(standing: Standing, demand: Demand, now: datetime) -> Iterator[WaitReason]:
    slot_id, occupant, why = standing.slot.id, standing.occupant, f" ({standing.why})" if standing.why else ""
    if not standing.alive:
        yield _away(standing)
    match standing.service:
        case ServiceState.QUARANTINED if not (demand.canary or demand.provision):
            who = "a person resumes it" if standing.only_a_person else "a canary passes or a person resumes it"
            detail = f"{slot_id} is quarantined{why}; returns to service when {who}"
            yield WaitReason(WaitsFor.SLOT_QUARANTINED, detail, slot_id=slot_id)
        case ServiceState.DRAINING | ServiceState.DRAINED if not (demand.provision and standing.free):
            detail = f"{slot_id} is {standing.service}{why}; resume it to return it to service"
            yield WaitReason(WaitsFor.SLOT_DRAINING, detail, slot_id=slot_id)
    if occupant is not None:
        yield _busy(slot_id, occupant, now)


def _busy(slot_id: str, occupant: Occupant, now: datetime) -> WaitReason:
    if not occupant.started:
        detail = f"job {occupant.job_id} is assigned to {slot_id} and has not started"
        return WaitReason(WaitsFor.SLOT_BUSY, detail, occupant.job_id, slot_id)
    ends = "ends" if occupant.latest > now else "has ended"
    detail = f"job {occupant.job_id} has {slot_id}; its run limit {ends} at {_moment(occupant.latest)}"
    return WaitReason(WaitsFor.SLOT_BUSY, detail, occupant.job_id, slot_id, until=occupant.latest)


def _away(standing: Standing) -> WaitReason:
    if standing.deaf is not None:
        detail = f"{standing.deaf}; the slot is used again when its worker has restarted"
        return WaitReason(WaitsFor.WORKER_DEAF, detail, slot_id=standing.slot.id)
    detail = f"no recent heartbeat from the worker of {standing.slot.id}"
    return WaitReason(WaitsFor.WORKER_AWAY, detail, slot_id=standing.slot.id)


def _before(job: ExplainedJob, seen: Snapshot) -> Iterator[WaitReason]:
    """Jobs that come first: in its class, and in other classes those that get a slot it could use."""
    mine = job.candidate
    if job.ahead:
        some = "1 job that asks" if job.ahead == 1 else f"{job.ahead} jobs that ask"
        comes = "comes" if job.ahead == 1 else "come"
        order = f"more urgent, moved to the front, or older; the first is job {job.next_job}"
        detail = f"{some} for the same slots {comes} before it: {order}"
        yield WaitReason(WaitsFor.BEHIND_IN_QUEUE, detail, job.next_job, count=job.ahead)
    standing = seen.shares.get(mine.project, UNUSED).standing
    fits = {each.slot.id: each.slot for each in seen.slots if mine.demand.admits(each.slot)}
    gets = {job_id: fits[slot_id] for slot_id, job_id in seen.taken.items() if slot_id in fits}
    told = set()
    for other in sorted(seen.candidates, key=lambda candidate: candidate.job_id):
        same = other.demand.unlimited == mine.demand.unlimited
        if other.job_id == mine.job_id or not (same or other.job_id in gets):
            continue
        won = other.job_id in gets and not _hindered(seen, gets[other.job_id], mine)
        if other.project != mine.project and (other.priority, other.rank) == (mine.priority, mine.rank):
            theirs = seen.shares.get(other.project, UNUSED).standing
            if other.project not in told and (theirs < standing or won):
                told.add(other.project)
                first = f"job {other.job_id} of project {other.project} gets a slot first"
                less = f"project {other.project} has had less slot time for its weight than {mine.project}"
                numbers = f"slot-seconds for each unit of weight: {theirs:.1f} and {standing:.1f}"
                detail = f"{less if theirs < standing else first} ({numbers})"
                yield WaitReason(WaitsFor.OTHER_PROJECT_FIRST, detail, other.job_id, project=other.project)
        elif not same and _comes_first(other, mine):
            slot_id = gets[other.job_id].id
            detail = f"job {other.job_id} comes before it in the queue, and gets {slot_id} in the next turn"
            yield WaitReason(WaitsFor.BEHIND_IN_QUEUE, detail, other.job_id, slot_id)


def _hindered(seen: Snapshot, slot: FreeSlot, mine: Candidate) -> bool:
    """Whether the job that got the slot takes nothing from this job: a short job may run there while slots are set
    aside."""
    gathering = seen.set_aside.get(slot.id)
    own = gathering is not None and gathering.job_id == mine.job_id
    return own or seen.gang_before(slot, mine) is not None or seen.closing(slot, mine) is not None


def _comes_first(other: Candidate, mine: Candidate) -> bool:
    return (-other.priority, other.rank, other.job_id) < (-mine.priority, mine.rank, mine.job_id)
