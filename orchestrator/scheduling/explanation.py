"""Why a job is in its present state: reads the rows for `placement.explain`, and its past from its events.

All functions read in the caller's session and change nothing.
"""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import ColumnElement, and_, false, func, or_, select
from sqlalchemy.orm import Session

from orchestrator.jobs import needs, queries
from orchestrator.model import demand
from orchestrator.model.demand import Demand, FreeSlot
from orchestrator.model.failures import Failure
from orchestrator.model.lacks import Lack
from orchestrator.model.orders import ordered_by
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.scheduling import plan, queue
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.explain import WaitReason, explain
from orchestrator.scheduling.placement.forecast import earliest_start
from orchestrator.scheduling.placement.order import MOST_URGENT, urgency, waited_for
from orchestrator.scheduling.placement.snapshot import ExplainedJob, Need, Occupant, Snapshot, Standing, supply_of
from orchestrator.scheduling.queue import QueueClass, Queued
from orchestrator.slots import queries as slot_queries
from orchestrator.slots import reservations
from orchestrator.slots.queries import longest_idle_first, with_leases
from orchestrator.storage.tables import Attempt, Batch, Event, Job, Slot

PAST_RUNS = 50
"""Number of latest successful runs of a kind that a forecast uses."""


FIRSTS = 100
"""Number of queue classes whose first job is looked at for what comes next on a slot: a lab pins to fewer slots."""


class PastKind(StrEnum):
    """What an explanation of a job's past is about."""

    SUBMITTED = "submitted"  #: Who asked for it.
    PLACED = "placed"  #: Why it ran on that slot.
    RETRIED = "retried"  #: Why it went back to the queue.
    CACHE_MISSED = "cache_missed"  #: Which input differs from the nearest earlier build.
    FROM_CACHE = "from_cache"  #: Which identical job's result was taken.
    ENDED = "ended"  #: Why it failed, was cancelled or skipped; why a server was stopped.


@dataclass(frozen=True)
class Past:
    """One decision about a job, and its reason."""

    at: datetime
    about: PastKind
    why: str
    slot_id: str | None = None


@dataclass(frozen=True)
class Explanation:
    """Everything a job waits for, when it will start if that can be computed, and the decisions that led to its
    state."""

    job: Job
    reasons: Sequence[WaitReason]
    earliest_start: datetime | None
    past: Sequence[Past]


def explanation(
    session: Session, job_id: int, *, now: datetime, lost_after: timedelta, aging: timedelta
) -> Explanation:
    """Explain a job; NotFound if there is none."""
    job = queries.job(session, job_id).job
    past = _past(session, job_id)
    if job.state not in (JobState.WAITING, JobState.QUEUED, JobState.ASSIGNED):
        return Explanation(job, (), None, past)
    found = queue.classes(session)
    seen = _snapshot(session, found, now=now, lost_after=lost_after, aging=aging)
    subject = _subject(session, job, seen, found, aging)
    return Explanation(job, explain(subject, seen), earliest_start(subject, seen), past)


@dataclass(frozen=True)
class WaitingClass:
    """The jobs of a queue class, and why the first of them waits."""

    queue_class: QueueClass
    jobs: int
    first: Job
    reasons: Sequence[WaitReason]
    earliest_start: datetime | None


@dataclass(frozen=True)
class Lineup:
    """The queue as a whole: its classes, the longest first, and which job comes next on which slot, if any does."""

    classes: Sequence[WaitingClass]
    more: int
    """Classes that are not shown."""
    next_jobs: Mapping[str, int]


def lineup(session: Session, *, now: datetime, lost_after: timedelta, aging: timedelta, most: int) -> Lineup:
    """The queue's `most` longest classes, each explained by its first job; all from one look at the slots."""
    found = queue.classes(session)
    if not found:
        return Lineup((), 0, {})
    seen = _snapshot(session, found, now=now, lost_after=lost_after, aging=aging)
    sizes = queue.sizes(session)
    longest = sorted(found, key=lambda each: -sizes.get(each, 1))
    firsts = [first for each in longest[:FIRSTS] for first in queue.heads(session, each, 1)]
    classes = []
    for first in firsts[:most]:
        job = queries.job(session, first.job_id).job
        subject = _subject(session, job, seen, found, aging)
        told = explain(subject, seen), earliest_start(subject, seen)
        classes.append(WaitingClass(first.queue_class, sizes.get(first.queue_class, 1), job, *told))
    return Lineup(classes, max(len(found) - most, 0), _next_jobs(seen, firsts))


def _next_jobs(seen: Snapshot, firsts: Sequence[Queued]) -> dict[str, int]:
    """By slot the job that the next turn places there, else the first of `firsts` that may run there when it is
    free."""
    in_line = sorted(firsts, key=lambda each: (-each.queue_class.priority, each.rank, each.job_id))
    wanted = [(each.job_id, Demand.parse(each.queue_class.demand)) for each in in_line]
    following = dict(seen.taken)
    for standing in seen.slots:
        fitting = (job for job, demand in wanted if standing.takes(demand) and demand.admits(standing.slot))
        first = next(fitting, None)
        if first is not None:
            following.setdefault(standing.slot.id, first)
    return following


# ── the snapshot ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _snapshot(
    session: Session, found: Sequence[QueueClass], *, now: datetime, lost_after: timedelta, aging: timedelta
) -> Snapshot:
    slots = _standings(session, now, lost_after)
    supply = supply_of(slots, now, reservations.windows(session, now))
    decided = plan.decide(session, found, supply, aging=aging)
    return Snapshot(
        supply=supply,
        plan=decided.plan,
        slots=slots,
        candidates=decided.candidates,
        shares=decided.shares,
        dispatcher_alive=slot_queries.dispatcher_alive(session, now),
        broker=slot_queries.broker_finding(session, now).sentence(),
    )


def _standings(session: Session, now: datetime, lost_after: timedelta) -> list[Standing]:
    """Every slot, in the order in which free slots are assigned."""
    rows = longest_idle_first(with_leases(select(Slot, Attempt.started_at, Job)))
    found, typical = [], dict[str, list[tuple[object, float]]]()
    for slot, started_at, job in session.execute(rows):
        occupant = None
        if job is not None:
            if job.kind not in typical:
                typical[job.kind] = _past_runs(session, job.kind)
            occupant = _occupant(job, started_at, now, _typical_seconds(job, typical[job.kind]))
        beats = slot.heartbeat_at is not None and slot.heartbeat_at > now - lost_after
        found.append(
            Standing(
                _as_placed(slot),
                beats and slot.deaf is None,
                slot.service_state,
                occupant,
                _why_out_of_service(slot),
                {name: Lack.of(name, stored) for name, stored in (slot.lacks or {}).items()},
                only_a_person=slot.kind is SlotKind.CPU or (slot.quarantined_because or {}).get("by") is not None,
                deaf=slot.deaf["reason"] if beats and slot.deaf is not None else None,
            )
        )
    return found


def _why_out_of_service(slot: Slot) -> str | None:
    if slot.service_state is ServiceState.IN_SERVICE:
        return None
    evidence, note = (slot.quarantined_because or {}).get("reason"), (slot.service_change or {}).get("note")
    if slot.service_state is ServiceState.QUARANTINED:
        return str(evidence or note) if evidence or note else None
    # A drained slot may have been under suspicion before: that is not why it is drained.
    before = f"under suspicion: {evidence}" if evidence and evidence != note else None
    return "; ".join(filter(None, (note, before))) or None


def _as_placed(slot: Slot) -> FreeSlot:
    return demand.free_slot(slot.id, slot.name, slot.labels, slot.kcore, lacks=slot.lacks)


def _occupant(job: Job, started_at: datetime | None, now: datetime, seconds: float) -> Occupant:
    start = started_at or now
    latest = start + timedelta(seconds=job.run_seconds)
    return Occupant(job.id, latest, min(latest, start + timedelta(seconds=seconds)), started=started_at is not None)


def _past_runs(session: Session, kind: str) -> list[tuple[object, float]]:
    """Spec and seconds of the latest successful runs of a kind."""
    runs = select(Job.spec, Attempt.seconds).join(Attempt, Attempt.job_id == Job.id)
    done = (Job.state == JobState.SUCCEEDED, Job.kind == kind, Attempt.state == AttemptState.SUCCEEDED)
    latest = runs.where(*done, Attempt.seconds.is_not(None)).order_by(Job.id.desc()).limit(PAST_RUNS)
    return [(spec, seconds) for spec, seconds in session.execute(latest) if seconds is not None]


def _typical_seconds(job: Job, runs: Sequence[tuple[object, float]]) -> float:
    """The median of the same spec, else of the kind, else the run limit."""
    same = [seconds for spec, seconds in runs if spec == job.spec]
    known = same or [seconds for _, seconds in runs]
    return statistics.median(known) if known else float(job.run_seconds)


# ── the job ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def _subject(session: Session, job: Job, seen: Snapshot, found: Sequence[QueueClass], aging: timedelta) -> ExplainedJob:
    candidate = next((each for each in seen.candidates if each.job_id == job.id), None)
    if candidate is None:
        queue_class, limit = QueueClass(job.demand, job.project, job.priority), timedelta(seconds=job.run_seconds)
        queued = [*queue.heads(session, queue_class, 1), Queued(job.id, queue_class, job.rank, job.created_at, limit)]
        known = queue.known(session, queued)
        candidate = queue.candidates(queued, known, now=seen.now, aging=aging)[-1]
    live = select(Attempt).where(Attempt.job_id == job.id, Attempt.state == AttemptState.ASSIGNED)
    assigned = session.scalars(live).first()
    alike = {each.demand for each in found if Demand.parse(each.demand).unlimited == candidate.demand.unlimited}
    ahead, following = _ahead(session, job, candidate, alike, seen.now, aging)
    return ExplainedJob(
        candidate=candidate,
        state=job.state,
        needs=[Need(row.id, row.name, row.state, row.until, row.met) for row in needs.of_job(session, job.id)],
        joined_to=job.joined_to,
        joined_state=_state_of(session, job.joined_to),
        not_before=job.not_before,
        open_batch=_open_batch(session, job),
        held=_hold_of(job) if job.held else None,
        slot_id=assigned.slot_id if assigned else None,
        rung_since=assigned.assigned_at if assigned and _rung_again(assigned) else None,
        ahead=ahead,
        next_job=following,
        seconds=_typical_seconds(job, _past_runs(session, job.kind)),
    )


def _state_of(session: Session, job_id: int | None) -> JobState:
    found = None if job_id is None else session.scalar(select(Job.state).where(Job.id == job_id))
    return found or JobState.RUNNING


def _rung_again(attempt: Attempt) -> bool:
    return attempt.rung_at is not None and attempt.rung_at > attempt.assigned_at


def _open_batch(session: Session, job: Job) -> int | None:
    return session.scalar(select(Batch.id).where(Batch.id == job.batch_id, Batch.sealed_at.is_(None)))


def _hold_of(job: Job) -> str:
    hold = job.hold or {}
    note = f": {hold['note']}" if hold.get("note") else ""
    return f"{hold.get('by')} put it on hold at {hold.get('at')}{note}; to remove the hold: tx81 unhold {job.id}"


def _ahead(
    session: Session, job: Job, mine: Candidate, alike: Collection[str], now: datetime, aging: timedelta
) -> tuple[int, int | None]:
    """How many jobs of the classes that ask for the same slots come before it, whatever the projects have used.

    They are more urgent, or further to the front, or older of its project. And the first of them.
    """
    level = mine.priority
    peers = or_(Job.priority == job.priority, _urgent(level, now, aging))
    before = or_(
        and_(Job.rank < job.rank, peers),
        and_(Job.rank == job.rank, _urgent(level, now, aging), Job.project == job.project, Job.id < job.id),
        _urgent(level + 1, now, aging) if level < MOST_URGENT else false(),
    )
    behind = (Job.state == JobState.QUEUED, ~Job.held, Job.demand.in_(alike), Job.id != job.id, before)
    count = session.scalar(select(func.count()).select_from(Job).where(*behind)) or 0
    oldest = select(Job.priority, Job.rank, func.min(Job.id), func.min(Job.created_at)).where(*behind)
    first = min(
        (
            (-max(level, urgency(priority, waited=now - since, aging=aging)), rank, number)
            for priority, rank, number, since in session.execute(oldest.group_by(Job.priority, Job.rank))
        ),
        default=None,
    )
    return count, first and first[2]


def _urgent(level: int, now: datetime, aging: timedelta) -> ColumnElement[bool]:
    """Jobs whose urgency is `level` or more, as a condition that an index can serve."""
    return or_(
        Job.priority >= level,
        *(
            and_(Job.priority == priority, Job.created_at <= now - waited_for(priority, level, aging=aging))
            for priority in range(level)
        ),
    )


# ── the past ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _past(session: Session, job_id: int) -> list[Past]:
    rows = session.scalars(select(Event).where(Event.job_id == job_id).order_by(Event.id))
    found = (_past_of(event) for event in rows)
    return [past for past in found if past is not None]


def _past_of(event: Event) -> Past | None:
    by, why, start = event.data.get("by"), event.data.get("why"), event.data.get("start")
    failure = event.data.get("failure")
    match event.kind:
        case "job.created" if by:
            return Past(event.at, PastKind.SUBMITTED, f"by {by}")
        case "attempt.assigned" if why:
            return Past(event.at, PastKind.PLACED, why, event.slot_id)
        case "job.queued" if why:
            about = PastKind.CACHE_MISSED if start == JobState.WAITING else PastKind.RETRIED
            return Past(event.at, about, why)
        case "job.waiting" if why:
            return Past(event.at, PastKind.RETRIED, why)
        case "job.succeeded" if why and event.attempt_id is None:
            return Past(event.at, PastKind.FROM_CACHE, why)
        case "job.succeeded" if by or why:
            return Past(event.at, PastKind.ENDED, ordered_by("stopped", by, why))
        case _ if failure and event.kind.startswith("job."):
            return Past(event.at, PastKind.ENDED, Failure.model_validate(failure).reason)
        case _:
            return None
