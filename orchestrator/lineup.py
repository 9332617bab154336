"""What placing and explaining look at, read from SQL: free slots, and the heads of the queue.

Its cost grows with the number of slots and of groups (a demand class of one project at one priority), never with the
number of queued jobs: groups are found by jumping through the index from each to the next.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Integer, ScalarSelect, Select, bindparam, exists, func, select
from sqlalchemy.orm import Session, aliased

from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.placement.demand import Demand, FreeSlot, classes_with_a_slot, labels_of
from orchestrator.placement.order import urgency
from orchestrator.placement.place import Candidate
from orchestrator.storage.tables import Attempt, Document, Job, JobInput, Lease, Slot

AT_ONCE = 1000
"""Numbers named in one statement: databases take only so many."""

# Built once: these are asked at every wake-up, and building them takes longer than running them.

_FREE_SLOTS = (
    select(Slot.id, Slot.name, Slot.labels, Slot.kcore)
    .where(
        Slot.service_state == ServiceState.IN_SERVICE,
        Slot.heartbeat_at > bindparam("alive_since"),
        ~exists().where(Lease.slot_id == Slot.id),
    )
    .order_by(Slot.last_ended_at.asc().nulls_first(), Slot.id)
)
"""Slots in service, with a live worker and no lease; longest idle first, so that wear is shared."""


def _groups() -> Select[str, str, int]:
    """Each group of queued jobs once: from the first job of a group the index is entered anew behind the group.

    Behind a group is the next priority, else the next project, else the next demand: three seeks, where one comparison
    of all three columns would make SQLite read on through the group.
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


_GROUPS = _groups()


def _head_of_group() -> Select[int, int, datetime, datetime | None]:
    """Number, rank and age of the first jobs of a group, and the age of its oldest job that nobody moved."""
    oldest = aliased(Job)
    unmoved = select(oldest.created_at).where(*_in_group(oldest), oldest.rank == 0).order_by(oldest.id).limit(1)
    first = select(Job.id, Job.rank, Job.created_at, unmoved.scalar_subquery()).where(*_in_group(Job))
    return first.order_by(Job.rank, Job.id).limit(bindparam("most", type_=Integer))


def _in_group(job: type[Job]) -> tuple[ColumnElement[bool], ...]:
    return (
        job.state == JobState.QUEUED,
        ~job.held,
        job.demand == bindparam("demand"),
        job.project == bindparam("project"),
        job.priority == bindparam("priority"),
    )


_HEAD_OF_GROUP = _head_of_group()


@dataclass(frozen=True)
class Group:
    """Queued jobs of one demand class, one project and one priority, none of them held.

    Those moved to the front come first, the last one moved before the others, then the oldest.
    """

    demand: str
    project: str
    priority: int


@dataclass(frozen=True)
class Queued:
    """A queued job, as placing needs it."""

    job_id: int
    group: Group
    rank: int
    since: datetime
    """Since when it waits; one that was moved to the front, as long as the oldest of its group."""


def free_slots(session: Session, alive_since: datetime) -> list[FreeSlot]:
    """Slots that may be given a job now, the longest idle first."""
    rows = session.execute(_FREE_SLOTS, {"alive_since": alive_since})
    return [free_slot(*row) for row in rows]


def free_slot(slot_id: str, name: str, labels: Document | None, kcore: str | None) -> FreeSlot:
    """A slot's row as placing sees it."""
    return FreeSlot(slot_id, SlotName.parse(name), labels_of((labels or {}).items()), kcore)


def groups(session: Session) -> list[Group]:
    """The groups of queued jobs."""
    return [Group(*row) for row in session.execute(_GROUPS)]


def placeable(session: Session, alive_since: datetime) -> bool:
    """Whether some queued job fits some free slot."""
    free = free_slots(session, alive_since)
    return bool(free) and bool(classes_with_a_slot({group.demand for group in groups(session)}, free))


def heads(session: Session, found: Iterable[Group], free: Sequence[FreeSlot]) -> Iterator[Queued]:
    """The first jobs of each group: no more of it can be placed than free slots fit it."""
    for group in found:
        demand = Demand.parse(group.demand)
        most = sum(demand.admits(slot) for slot in free)
        if most:
            asked = {"demand": group.demand, "project": group.project, "priority": group.priority, "most": most}
            for job_id, rank, created_at, oldest in session.execute(_HEAD_OF_GROUP, asked):
                yield Queued(job_id, group, rank, min(created_at, oldest) if rank and oldest else created_at)


def candidates(session: Session, queued: Sequence[Queued], *, now: datetime, aging: timedelta) -> list[Candidate]:
    """These jobs as `place` wants them: one that was moved to the front counts as old as any of its priority."""
    oldest: dict[int, datetime] = {}
    for job in queued:
        oldest[job.group.priority] = min(job.since, oldest.get(job.group.priority, job.since))
    numbers = [job.job_id for job in queued]
    failed_on, kcores = _failed_slots(session, numbers), _kcores(session, numbers)
    demands = {key: Demand.parse(key) for key in {job.group.demand for job in queued}}
    return [
        Candidate(
            job_id=job.job_id,
            demand=demands[job.group.demand],
            priority=urgency(
                job.group.priority,
                waited=now - (oldest[job.group.priority] if job.rank else job.since),
                aging=aging,
            ),
            avoid=frozenset(failed_on[job.job_id]),
            rank=job.rank,
            project=job.group.project,
            kcore=kcores.get(job.job_id),
        )
        for job in queued
    ]


def run_limits(session: Session, job_ids: list[int]) -> dict[int, timedelta]:
    """How long each of these jobs may run."""
    found: dict[int, timedelta] = {}
    for some in _parts(job_ids):
        rows = select(Job.id, Job.run_seconds).where(Job.id.in_(some))
        found.update((job_id, timedelta(seconds=seconds)) for job_id, seconds in session.execute(rows))
    return found


def _failed_slots(session: Session, job_ids: list[int]) -> dict[int, set[str]]:
    bad = (AttemptState.FAILED, AttemptState.LOST)
    slots: dict[int, set[str]] = defaultdict(set)
    for some in _parts(job_ids):
        rows = select(Attempt.job_id, Attempt.slot_id).where(Attempt.job_id.in_(some), Attempt.state.in_(bad))
        for job_id, slot_id in session.execute(rows):
            slots[job_id].add(slot_id)
    return slots


def _kcores(session: Session, job_ids: list[int]) -> dict[int, str | None]:
    found: dict[int, str | None] = {}
    for some in _parts(job_ids):
        rows = select(JobInput.job_id, JobInput.digest).where(JobInput.job_id.in_(some), JobInput.name == "kcore")
        found.update((job_id, digest) for job_id, digest in session.execute(rows))
    return found


def _parts(numbers: list[int]) -> Iterator[list[int]]:
    return (numbers[start : start + AT_ONCE] for start in range(0, len(numbers), AT_ONCE))
