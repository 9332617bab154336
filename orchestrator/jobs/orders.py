"""Orders of users for existing jobs: cancel, stop, hold, unhold, reprioritise, move to the front; one or many.

Every order is carried out under the admission lock (`ordered`), so that no job is placed or admitted while it is being
held or moved, and jobs are locked by one such transaction at a time. Nothing here writes a job's state:
cancelling and stopping are `orchestrator.jobs.lifecycle`'s.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from orchestrator.clock import as_utc
from orchestrator.errors import BadRequest, IllegalTransition, NotFound, OrchestratorError
from orchestrator.jobs import lifecycle, line
from orchestrator.jobs.queries import JobFilter
from orchestrator.model.orders import MOST_JOBS, Action, BulkOrder, Chosen, Order
from orchestrator.model.states import FINAL, JobState
from orchestrator.storage import events
from orchestrator.storage.tables import Job, Pipeline

MOST_COUNTED = 10_000
"""Beyond it jobs are not counted one by one."""

_UNPLACED = frozenset({JobState.WAITING, JobState.QUEUED})
_UNBEGUN = _UNPLACED | {JobState.ASSIGNED}


@dataclass(frozen=True)
class JobOutcome:
    """Outcome of an order for one job: the state of the job, or why the order was refused."""

    job_id: int
    state: JobState | None
    refused: OrchestratorError | None = None


@dataclass(frozen=True)
class Report:
    """Outcome of an order for many jobs; `left` is the number of matching jobs that need another request."""

    outcomes: tuple[JobOutcome, ...]
    left: int = 0


def carry_out(session: Session, job_id: int, order: Order, *, now: datetime) -> JobState:
    """Carry out an order for one job and return the state of the job.

    NotFound without such a job; IllegalTransition, and nothing changed, if its state does not allow it. An order that
    changes nothing (hold a held job, unhold a job that is not held) is accepted.
    """
    state = _carry_out(session, job_id, order, now)
    _note_new_order(session, order, now)
    return state


def _carry_out(session: Session, job_id: int, order: Order, now: datetime) -> JobState:
    job = session.get(Job, job_id, populate_existing=True, with_for_update={"key_share": True})
    if job is None:
        raise NotFound(f"there is no job {job_id}", job=job_id)
    if order.action is Action.CANCEL:
        return lifecycle.cancel(session, job_id, by=order.by, why=order.note, now=now)
    if order.action is Action.STOP:
        return lifecycle.stop(session, job_id, by=order.by, why=order.note, now=now)
    _ORDERS[order.action](session, job, order, now)
    session.flush()
    return job.state


def carry_out_all(session: Session, job_ids: Iterable[int], order: Order, *, now: datetime) -> Report:
    """Carry out the order for each of these jobs whose state allows it; the report has one outcome per job.

    Newest first: a job whose need is cancelled first would be skipped, which reports less.
    """
    outcomes = [_outcome_of(session, job_id, order, now) for job_id in sorted(set(job_ids), reverse=True)]
    _note_new_order(session, order, now)
    return Report(tuple(reversed(outcomes)))


def carry_out_bulk(session: Session, bulk: BulkOrder, by: str, *, now: datetime) -> Report:
    """Carry out the order for the jobs of a list, or for at most `MOST_JOBS` that match a filter and would be
    changed."""
    order = Order(bulk.action, by, bulk.note, bulk.priority)
    if bulk.filter is None:
        return carry_out_all(session, bulk.jobs, order, now=now)
    chosen = as_filter(bulk.filter).narrow(select(Job.id).where(_changes(order)))
    fitting = session.scalar(select(func.count()).select_from(chosen.subquery())) or 0
    if order.action is Action.FRONT and fitting > MOST_JOBS:
        raise BadRequest(
            f"{fitting} jobs fit, and at most {MOST_JOBS} can be moved to the front together; narrow the filter",
            field="filter",
        )
    job_ids = session.scalars(chosen.order_by(Job.id.desc()).limit(MOST_JOBS)).all()
    return Report(carry_out_all(session, job_ids, order, now=now).outcomes, fitting - len(job_ids))


def as_filter(chosen: Chosen) -> JobFilter:
    """The filter of jobs that an order names."""
    fields = dict(chosen)
    return JobFilter(text=fields.pop("q"), **fields)


@dataclass(frozen=True)
class Count:
    """How many jobs fit a filter, each number up to `MOST_COUNTED`."""

    matching: int
    changed: dict[Action, int]
    """How many each order would change."""
    ended: int
    """How many could be submitted again."""


def count(session: Session, chosen: JobFilter) -> Count:
    """How many jobs fit, and how many of them each order would change."""

    def number(*conditions: ColumnElement[bool]) -> int:
        fitting = chosen.narrow(select(Job.id).where(*conditions)).limit(MOST_COUNTED)
        return session.scalar(select(func.count()).select_from(fitting.subquery())) or 0

    changed = {action: number(_changes(Order(action, None, priority=-1))) for action in Action}
    return Count(number(), changed, number(Job.state.in_(FINAL)))


def carry_out_pipeline(session: Session, pipeline_id: int, order: Order, *, now: datetime) -> Report:
    """Carry out the order for every job of a pipeline that has not ended; NotFound without such a pipeline."""
    if session.get(Pipeline, pipeline_id) is None:
        raise NotFound(f"there is no pipeline {pipeline_id}", pipeline=pipeline_id)
    unfinished = select(Job.id).where(Job.pipeline_id == pipeline_id, Job.state.not_in(FINAL))
    return carry_out_all(session, session.scalars(unfinished).all(), order, now=now)


# ── one order each ────────────────────────────────────────────────────────────────────────────────────────────────────


def _hold(session: Session, job: Job, order: Order, now: datetime) -> None:
    _require(job, _UNPLACED, "held", "cancel it instead" if job.state not in FINAL else "retry makes a new one")
    if not job.held:
        job.held, job.hold = True, {"by": order.by, "note": order.note, "at": now.isoformat()}
        _changed(session, job, "job.held", order, now)


def _unhold(session: Session, job: Job, order: Order, now: datetime) -> None:
    _require(job, frozenset(JobState) - FINAL, "released from hold", "retry makes a new one")
    if not job.held:
        return
    if job.queue_deadline_at is not None and job.hold is not None:
        # The queue deadline was suspended while the job was held in the queue.
        held_at = as_utc(datetime.fromisoformat(job.hold["at"]))
        job.queue_deadline_at += now - max(held_at, job.queued_at or held_at)
    job.held, job.hold = False, None
    _changed(session, job, "job.released", order, now)


def _prioritise(session: Session, job: Job, order: Order, now: datetime) -> None:
    _require(job, _UNBEGUN, "given another priority", "it is already assigned or running")
    if order.priority is not None and job.priority != order.priority:
        was, job.priority, job.rank = job.priority, order.priority, 0
        _changed(session, job, "job.reprioritised", order, now, was=was, priority=order.priority)


def _to_front(session: Session, job: Job, order: Order, now: datetime) -> None:
    _require(job, _UNPLACED, "moved to the front", "it is already assigned or running")
    # The last one moved comes first; jobs that are moved together stay in their order.
    job.rank = -int(now.timestamp() * 1_000_000)
    _changed(session, job, "job.moved_to_front", order, now, priority=job.priority)


_ORDERS: dict[Action, Callable[[Session, Job, Order, datetime], None]] = {
    Action.HOLD: _hold,
    Action.UNHOLD: _unhold,
    Action.PRIORITY: _prioritise,
    Action.FRONT: _to_front,
}


# ── shared steps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _outcome_of(session: Session, job_id: int, order: Order, now: datetime) -> JobOutcome:
    try:
        return JobOutcome(job_id, _carry_out(session, job_id, order, now))
    except NotFound as missing:
        return JobOutcome(job_id, None, missing)
    except IllegalTransition as refused:
        return JobOutcome(job_id, session.scalar(select(Job.state).where(Job.id == job_id)), refused)


def _note_new_order(session: Session, order: Order, now: datetime) -> None:
    """Discard the line if other jobs may be next now: last, because every end of an attempt waits for it."""
    if order.action in (Action.UNHOLD, Action.PRIORITY, Action.FRONT):
        line.forget(session, now=now)


def _changes(order: Order) -> ColumnElement[bool]:
    """The jobs to which an order by filter applies: those that it can change, and that are not already as ordered."""
    match order.action:
        case Action.CANCEL:
            return Job.state.not_in(FINAL) & ~Job.cancel_requested
        case Action.STOP:
            return (Job.kind == "serve") & Job.state.not_in(FINAL) & Job.stop.is_(None)
        case Action.HOLD:
            return Job.state.in_(_UNPLACED) & ~Job.held
        case Action.UNHOLD:
            return Job.state.not_in(FINAL) & Job.held
        case Action.PRIORITY:
            return Job.state.in_(_UNBEGUN) & (Job.priority != order.priority)
        case Action.FRONT:
            return Job.state.in_(_UNPLACED)


def _require(job: Job, states: frozenset[JobState], what: str, remedy: str) -> None:
    if job.state not in states:
        raise IllegalTransition(f"job {job.id} is {job.state} and cannot be {what}: {remedy}", job=job.id)


def _changed(session: Session, job: Job, kind: str, order: Order, now: datetime, **about: object) -> None:
    job.version += 1
    events.record(session, kind, now, job_id=job.id, by=order.by, why=order.note, **about)
