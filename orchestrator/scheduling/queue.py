"""The input of placement and explanation, read from SQL: the slots in service, and the heads of the queue.

Its cost grows with the number of slots and of queue classes (a demand class of one project at one priority), never with
the number of queued jobs: the classes are found by index seeks from each to the next.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, ScalarSelect, Select, and_, bindparam, func, or_, select, tuple_
from sqlalchemy.orm import Session, aliased

from orchestrator.model.demand import Demand, FreeSlot, free_slot
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.order import urgency
from orchestrator.scheduling.placement.supply import BusySlot, Supply
from orchestrator.slots import reservations
from orchestrator.slots.queries import longest_idle_first, with_leases
from orchestrator.storage.tables import Attempt, Job, JobInput, Lease, Slot

AT_ONCE = 1000
"""Numbers named in one statement: databases limit the number of parameters."""

# Built once: they run at every wake-up, and building them takes longer than running them.

_SUPPLY = longest_idle_first(
    with_leases(
        select(
            Slot.id, Slot.name, Slot.labels, Slot.kcore, Job.run_seconds, Attempt.started_at,
            Slot.service_state, Slot.lacks,
        )
    ).where(
        or_(
            Slot.service_state == ServiceState.IN_SERVICE,
            and_(Slot.service_state != ServiceState.DRAINING, Lease.slot_id.is_(None)),
        ),
        Slot.heartbeat_at > bindparam("alive_since"),
        Slot.deaf.is_(None),
    )
)  # fmt: skip
"""Slots with a live worker: in service, with the end of the job on them; or out of service without a job, for the few
jobs that may run there."""


def _classes() -> Select[str, str, int]:
    """Each queue class once: from the first job of a class, a new index seek skips the rest of the class.

    After a class comes the next priority, else the next project, else the next demand: three seeks, because one
    comparison of all three columns would make SQLite read the whole class.
    """
    here, first = aliased(Job), aliased(Job)
    start = _first_of(first, (first.demand, first.project, first.priority))
    head = select(start.label("id")).cte("head", recursive=True)
    last, next_project, next_demand = aliased(Job), aliased(Job), aliased(Job)
    following = func.coalesce(
        _first_of(
            last, (last.priority,),
            last.demand == here.demand, last.project == here.project, last.priority > here.priority,
        ),
        _first_of(
            next_project, (next_project.project, next_project.priority),
            next_project.demand == here.demand, next_project.project > here.project,
        ),
        _first_of(
            next_demand, (next_demand.demand, next_demand.project, next_demand.priority),
            next_demand.demand > here.demand,
        ),
    )  # fmt: skip
    head = head.union_all(select(following).select_from(head).join(here, here.id == head.c.id))
    return select(Job.demand, Job.project, Job.priority).join(head, head.c.id == Job.id)


def _first_of(job: type[Job], order: Iterable[Any], *where: ColumnElement[bool]) -> ScalarSelect[int]:
    found = select(job.id).where(job.state == JobState.QUEUED, ~job.held, *where).order_by(*order, job.rank, job.id)
    return found.limit(1).scalar_subquery()


_CLASSES = _classes()


def _head_of_class() -> Select[int, int, datetime, int, datetime | None]:
    """Number, rank, age and run limit of the first jobs of a class, and the age of its oldest job that was not moved to
    the front."""
    oldest = aliased(Job)
    unmoved = select(oldest.created_at).where(*_in_class(oldest), oldest.rank == 0).order_by(oldest.id).limit(1)
    first = select(Job.id, Job.rank, Job.created_at, Job.run_seconds, unmoved.scalar_subquery())
    return first.where(*_in_class(Job)).order_by(Job.rank, Job.id).limit(bindparam("most", type_=Integer))


def _in_class(job: type[Job]) -> tuple[ColumnElement[bool], ...]:
    return (
        job.state == JobState.QUEUED,
        ~job.held,
        job.demand == bindparam("demand"),
        job.project == bindparam("project"),
        job.priority == bindparam("priority"),
    )


_HEAD_OF_CLASS = _head_of_class()
_NEXT_OF_CLASS = _HEAD_OF_CLASS.where(
    tuple_(Job.rank, Job.id) > tuple_(bindparam("rank", type_=Integer), bindparam("job_id", type_=Integer))
)

_FAILED = select(Attempt.job_id, Attempt.slot_ids).where(
    Attempt.job_id.in_(bindparam("jobs", expanding=True)),
    Attempt.state.in_((AttemptState.FAILED, AttemptState.LOST)),
    # A server that was gone is no reason to avoid the seat of its client.
    Attempt.failure["kind"].as_string().is_distinct_from(FailureKind.SERVER_GONE),
)
_KCORES = select(JobInput.job_id, JobInput.digest).where(
    JobInput.job_id.in_(bindparam("jobs", expanding=True)), JobInput.name == "kcore"
)


@dataclass(frozen=True)
class QueueClass:
    """Queued jobs of one demand class, one project and one priority, none of them held.

    Those moved to the front come first (the last one moved before the others), then the oldest.
    """

    demand: str
    project: str
    priority: int


@dataclass(frozen=True)
class Queued:
    """A queued job as placement needs it."""

    job_id: int
    queue_class: QueueClass
    rank: int
    since: datetime
    """Since when it waits; a job that was moved to the front counts as old as the oldest of its queue class."""
    run_limit: timedelta


def supply(session: Session, now: datetime, lost_after: timedelta) -> Supply:
    """The slots whose worker sent a heartbeat within `lost_after`, except those out of service that have a job."""
    free: list[FreeSlot] = []
    busy: list[BusySlot] = []
    for row in session.execute(_SUPPLY, {"alive_since": now - lost_after}):
        slot = free_slot(row.id, row.name, row.labels, row.kcore, row.service_state, row.lacks)
        if row.run_seconds is None:
            free.append(slot)
        else:
            # A job that is assigned to the slot and has not started counts as if it started now.
            busy.append(BusySlot(slot, (row.started_at or now) + timedelta(seconds=row.run_seconds)))
    return Supply(now, free, busy, reservations.windows(session, now))


def classes(session: Session) -> list[QueueClass]:
    """Every queue class that has a job."""
    return [QueueClass(*row) for row in session.execute(_CLASSES)]


def sizes(session: Session) -> dict[QueueClass, int]:
    """Number of jobs of every queue class."""
    group = (Job.demand, Job.project, Job.priority)
    counted = select(*group, func.count()).where(Job.state == JobState.QUEUED, ~Job.held).group_by(*group)
    return {QueueClass(*row[:3]): row[3] for row in session.execute(counted)}


def placeable(found: Iterable[QueueClass], slots: Supply) -> bool:
    """Whether the free slots are enough for some job of these classes, without other jobs and windows."""
    rooms: dict[Demand, int] = {}
    for queue_class in found:
        demand = Demand.parse(queue_class.demand).unlimited
        if demand not in rooms:
            rooms[demand] = slots.room(demand)
        if rooms[demand]:
            return True
    return False


def rooms(found: Iterable[QueueClass], slots: Supply) -> Iterator[tuple[QueueClass, int]]:
    """For each queue class, how many jobs placement may have to consider: as many as fit on the free slots.

    Of gangs always the first one, if some host has enough slots: the turn may have to set some aside.
    """
    known: dict[Demand, int] = {}
    for queue_class in found:
        demand = Demand.parse(queue_class.demand).unlimited
        if demand not in known:
            waits = demand.slots > 1 and slots.could_hold(demand)
            known[demand] = max(slots.room(demand), int(waits))
        yield queue_class, known[demand]


@dataclass(frozen=True)
class Known:
    """What is stored about a queued job outside its own row."""

    avoid: frozenset[str]
    """Slots where it failed before."""
    kcore: str | None


def heads(session: Session, queue_class: QueueClass, most: int, *, after: Queued | None = None) -> list[Queued]:
    """The first jobs of a queue class, or those after a given one."""
    asked: dict[str, Any] = {
        "demand": queue_class.demand, "project": queue_class.project, "priority": queue_class.priority, "most": most,
    }  # fmt: skip
    if after is not None:
        asked |= {"rank": after.rank, "job_id": after.job_id}
    return [
        Queued(
            job_id,
            queue_class,
            rank,
            min(created_at, oldest) if rank and oldest else created_at,
            timedelta(seconds=run),
        )
        for job_id, rank, created_at, run, oldest in session.execute(
            _HEAD_OF_CLASS if after is None else _NEXT_OF_CLASS, asked
        )
    ]


def known(session: Session, queued: Sequence[Queued]) -> dict[int, Known]:
    """What is stored about these jobs outside their rows, by number."""
    numbers = [job.job_id for job in queued]
    failed_on, kcores = _failed_slots(session, numbers), _kcores(session, numbers)
    return {number: Known(frozenset(failed_on.get(number, ())), kcores.get(number)) for number in numbers}


def candidates(
    queued: Sequence[Queued], known: Mapping[int, Known], *, now: datetime, aging: timedelta
) -> list[Candidate]:
    """These jobs as input of `place`: one that was moved to the front counts as old as any of its priority."""
    oldest: dict[int, datetime] = {}
    for job in queued:
        oldest[job.queue_class.priority] = min(job.since, oldest.get(job.queue_class.priority, job.since))
    demands = {key: Demand.parse(key) for key in {job.queue_class.demand for job in queued}}
    return [
        Candidate(
            job_id=job.job_id,
            demand=demands[job.queue_class.demand],
            priority=urgency(
                job.queue_class.priority,
                waited=now - (oldest[job.queue_class.priority] if job.rank else job.since),
                aging=aging,
            ),
            avoid=known[job.job_id].avoid,
            rank=job.rank,
            project=job.queue_class.project,
            kcore=known[job.job_id].kcore,
            run_limit=job.run_limit,
        )
        for job in queued
    ]


def _failed_slots(session: Session, job_ids: list[int]) -> dict[int, set[str]]:
    slots: dict[int, set[str]] = defaultdict(set)
    for some in _parts(job_ids):
        for job_id, slot_ids in session.execute(_FAILED, {"jobs": some}):
            slots[job_id].update(slot_ids)
    return slots


def _kcores(session: Session, job_ids: list[int]) -> dict[int, str | None]:
    found: dict[int, str | None] = {}
    for some in _parts(job_ids):
        found.update((job_id, digest) for job_id, digest in session.execute(_KCORES, {"jobs": some}))
    return found


def _parts(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[start : start + AT_ONCE] for start in range(0, len(numbers), AT_ONCE))
