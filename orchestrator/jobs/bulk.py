"""Transitions of many jobs at once, each as one statement: created, queued, assigned, ended before they started.

Apart from `orchestrator.jobs.lifecycle` the only writer of `job.state`, under the same rules: a transition is guarded
by the previous state, and its events are in the same transaction. All of it is done under the admission lock, so that
no turn places or admits these jobs meanwhile.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Update, exists, func, select, update
from sqlalchemy.orm import Session

from orchestrator.errors import IllegalTransition
from orchestrator.jobs import leases, line, needs, shares, statements
from orchestrator.model.failures import Failure
from orchestrator.model.orders import order_to_end
from orchestrator.model.specs import BUILD_KINDS
from orchestrator.model.states import TRANSITIONS, AttemptState, JobState
from orchestrator.storage import events
from orchestrator.storage.tables import Base, Document

JOB = Base.metadata.tables["job"]
"""The table to which conditions on many jobs refer."""

_INPUT, _ATTEMPT = (Base.metadata.tables[name] for name in ("job_input", "attempt"))

_UNBEGUN = (JobState.WAITING, JobState.QUEUED)


def create(session: Session, jobs: Sequence[Document], *, now: datetime) -> list[int]:
    """Write new jobs, `waiting`, and return their numbers in this order; each is given as the same columns, and all
    were submitted by the same user.

    `orchestrator.jobs.admission` decides where they go from there.
    """
    session.flush()  # A statement on plain tables does not see what the session has not flushed yet.
    rows = [{**job, "state": JobState.WAITING, "created_at": now} for job in jobs]
    made = list(session.execute(statements.CREATE, rows).scalars())
    for project in sorted({job["project"] for job in jobs}):
        shares.enrol(session, project, now=now)
    by = jobs[0].get("submitted_by") if jobs else None
    _record(session, "job.created", made, now, **({"by": by} if by else {}))
    return made


def queue_ready(session: Session, which: ColumnElement[bool], *, now: datetime) -> list[int]:
    """Queue those jobs that no longer wait for anything, know their inputs and are never taken from the cache.

    This is what `orchestrator.jobs.admission` would do with each of them; the others are left to it. Returns the
    queued jobs.
    """
    unmet = needs.unmet(JOB, JOB.alias())
    unknown = exists().where(_INPUT.c.job_id == JOB.c.id, _INPUT.c.digest.is_(None))
    ready = (which, _still(JobState.WAITING), JOB.c.kind.not_in(BUILD_KINDS), ~unmet, ~unknown)
    queued: list[int] = []
    for seconds in session.scalars(select(JOB.c.queue_seconds).where(*ready).distinct()).all():
        deadline = None if seconds is None else now + timedelta(seconds=seconds)
        like_this = update(JOB).where(*ready, JOB.c.queue_seconds.is_not_distinct_from(seconds))
        moved = _walk(session, like_this, JobState.QUEUED, queued_at=now, queue_deadline_at=deadline)
        _record(session, "job.queued", moved, now, start=JobState.WAITING)
        queued += moved
    line.note_queued(session, queued, now=now)
    session.expire_all()  # The session's copies of these jobs are outdated now.
    return queued


@dataclass(frozen=True)
class Allocation:
    """A queued job, the slots that it gets (the lead slot first), and why these."""

    job_id: int
    slot_ids: Sequence[str]
    why: str


def assign(
    session: Session, wanted: Sequence[Allocation], *, now: datetime, lease: timedelta
) -> list[tuple[int, Allocation]]:
    """Lease slots to new attempts at queued jobs; returns each with the id of its attempt; jobs that are no longer
    queued are omitted.

    The worker of the lead slot gets one doorbell for all slots of an attempt. The time of that doorbell is stored as
    now: the caller sends it next. Every slot must be free: the database refuses a second lease on a slot, and with it
    the transaction.
    """
    standing = update(JOB).where(JOB.c.id.in_([each.job_id for each in wanted]), _still(JobState.QUEUED))
    moved = set(_walk(session, standing, JobState.ASSIGNED))
    taken = [each for each in wanted if each.job_id in moved]
    if not taken:
        return []
    numbers = _next_numbers(session, moved)
    attempts = [
        {
            "job_id": each.job_id, "number": numbers[each.job_id], "slot_id": each.slot_ids[0],
            "slot_ids": list(each.slot_ids), "state": AttemptState.ASSIGNED, "assigned_at": now, "rung_at": now,
        }
        for each in taken
    ]  # fmt: skip
    made = list(zip(session.execute(statements.TRY, attempts).scalars(), taken, strict=True))
    wanted_leases = [(slot_id, attempt_id) for attempt_id, each in made for slot_id in each.slot_ids]
    leases.take(session, wanted_leases, until=now + lease)
    session.execute(events.RECORD, [event for entry in made for event in _assigned_events(*entry, now)])
    return made


def _next_numbers(session: Session, job_ids: Iterable[int]) -> dict[int, int]:
    """The number of the next attempt of each job."""
    tried = select(_ATTEMPT.c.job_id, func.count()).where(_ATTEMPT.c.job_id.in_(job_ids)).group_by(_ATTEMPT.c.job_id)
    counts: dict[int, int] = dict(session.execute(tried).all())
    return {job_id: counts.get(job_id, 0) + 1 for job_id in job_ids}


def _assigned_events(attempt_id: int, taken: Allocation, now: datetime) -> Iterator[Document]:
    about = {"at": now, "job_id": taken.job_id, "slot_id": taken.slot_ids[0]}
    yield {**about, "kind": "job.assigned", "attempt_id": None, "data": {"start": JobState.QUEUED}}
    several = {"slot_ids": list(taken.slot_ids)} if len(taken.slot_ids) > 1 else {}
    yield {**about, "kind": "attempt.assigned", "attempt_id": attempt_id, "data": {"why": taken.why, **several}}


def end_unbegun(session: Session, batch_id: int, *, to: JobState, failure: Failure, now: datetime) -> int:
    """End all waiting or queued jobs of a batch that were never started, with one reason; returns their number.

    A job that comes back to the queue meanwhile, because its attempt ends, is left unchanged: it has run.
    """
    told = failure.model_dump(mode="json")
    change: Document = {"failure": told}
    about: Document = {"failure": told}
    if to is JobState.CANCELLED:
        about |= {"by": None, "why": failure.reason}
        change["cancel"] = order_to_end(None, failure.reason, now)
    count = 0
    for start in _UNBEGUN:
        if to not in TRANSITIONS[start]:
            raise IllegalTransition(f"a job never goes from {start} to {to}", batch=batch_id)
        unbegun = (JOB.c.batch_id == batch_id, JOB.c.state == start, JOB.c.started_at.is_(None))
        standing = update(JOB).where(*unbegun)
        moved = _walk(session, standing, to, ended_at=now, held=False, hold=None, **change)
        _record(session, f"job.{to}", moved, now, start=start, **about)
        count += len(moved)
    session.expire_all()  # The session's copies of these jobs are outdated now.
    return count


def _still(state: JobState) -> ColumnElement[bool]:
    """The guard for jobs given by number. It must match no index, otherwise SQLite reads the whole queue to find a
    few."""
    return JOB.c.state.concat("") == state


def _walk(session: Session, jobs: Update, to: JobState, **change: Any) -> list[int]:
    session.flush()  # A statement on plain tables does not see what the session has not flushed yet.
    moving = jobs.values(state=to, version=JOB.c.version + 1, **change).returning(JOB.c.id)
    return sorted(cast("CursorResult[Any]", session.execute(moving)).scalars())


def _record(session: Session, kind: str, jobs: Iterable[int], now: datetime, **about: Any) -> None:
    rows = [
        {"at": now, "kind": kind, "job_id": job_id, "attempt_id": None, "slot_id": None, "data": about}
        for job_id in jobs
    ]
    if rows:
        session.execute(events.RECORD, rows)
