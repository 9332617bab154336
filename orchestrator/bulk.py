"""The arrows that many jobs walk at once, each as one statement: created, queued, ended before they began.

Beside `orchestrator.lifecycle` the only writer of `job.state`, under the same rules: an arrow is guarded by the state
it leaves, and its events are in the same transaction. All of it is done behind the door of admission, so that no turn
places or admits these jobs meanwhile.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, cast

from sqlalchemy import ColumnElement, CursorResult, Update, exists, select, update
from sqlalchemy.orm import Session

from orchestrator import shares
from orchestrator.errors import IllegalTransition
from orchestrator.model.failures import Failure
from orchestrator.model.specs import BUILD_KINDS
from orchestrator.model.states import TRANSITIONS, JobState
from orchestrator.storage import statements
from orchestrator.storage.tables import Base, Document

JOB = Base.metadata.tables["job"]
"""What conditions on many jobs are said of."""

_NEED, _INPUT = Base.metadata.tables["job_need"], Base.metadata.tables["job_input"]

_UNBEGUN = (JobState.WAITING, JobState.QUEUED)


def create(session: Session, jobs: Sequence[Document], *, now: datetime) -> list[int]:
    """Write new jobs, `waiting`, and return their numbers in this order; each is given as the same columns.

    `orchestrator.admission` decides where they go from there.
    """
    session.flush()  # A statement on tables would not see what the session has yet to write.
    rows = [{**job, "state": JobState.WAITING, "created_at": now} for job in jobs]
    made = list(session.execute(statements.CREATE, rows).scalars())
    for project in sorted({job["project"] for job in jobs}):
        shares.enrol(session, project, now=now)
    _record(session, "job.created", made, now)
    return made


def queue_ready(session: Session, which: ColumnElement[bool], *, now: datetime) -> list[int]:
    """Queue those jobs that wait for nothing any more, know their inputs and are never taken from the cache.

    This is what `orchestrator.admission` would do with each of them; the others are left to it. Returns who was queued.
    """
    needed = JOB.alias()
    pending = exists().where(
        _NEED.c.job_id == JOB.c.id, _NEED.c.needs_id == needed.c.id, needed.c.state != JobState.SUCCEEDED
    )
    unknown = exists().where(_INPUT.c.job_id == JOB.c.id, _INPUT.c.digest.is_(None))
    ready = (which, JOB.c.state == JobState.WAITING, JOB.c.kind.not_in(BUILD_KINDS), ~pending, ~unknown)
    queued: list[int] = []
    for seconds in session.scalars(select(JOB.c.queue_seconds).where(*ready).distinct()).all():
        deadline = None if seconds is None else now + timedelta(seconds=seconds)
        like_this = update(JOB).where(*ready, JOB.c.queue_seconds.is_not_distinct_from(seconds))
        moved = _walk(session, like_this, JobState.QUEUED, queued_at=now, queue_deadline_at=deadline)
        _record(session, "job.queued", moved, now, start=JobState.WAITING)
        queued += moved
    return queued


def end_unbegun(session: Session, batch_id: int, *, to: JobState, failure: Failure, now: datetime) -> int:
    """End all jobs of a batch that wait or are queued and were never started, for one reason; returns how many.

    A job that comes back to the queue meanwhile, because its attempt ends, is left as it is: it has run.
    """
    told = failure.model_dump(mode="json")
    count = 0
    for start in _UNBEGUN:
        if to not in TRANSITIONS[start]:
            raise IllegalTransition(f"a job never goes from {start} to {to}", batch=batch_id)
        unbegun = (JOB.c.batch_id == batch_id, JOB.c.state == start, JOB.c.started_at.is_(None))
        standing = update(JOB).where(*unbegun)
        moved = _walk(session, standing, to, ended_at=now, held=False, hold=None, failure=told)
        _record(session, f"job.{to}", moved, now, start=start, failure=told)
        count += len(moved)
    return count


def _walk(session: Session, jobs: Update, to: JobState, **change: Any) -> list[int]:
    session.flush()  # A statement on tables would not see what the session has yet to write.
    moving = jobs.values(state=to, version=JOB.c.version + 1, **change).returning(JOB.c.id)
    moved = cast("CursorResult[Any]", session.execute(moving)).scalars().all()
    # What the session holds of these jobs is old now.
    session.expire_all()
    return sorted(moved)


def _record(session: Session, kind: str, jobs: Iterable[int], now: datetime, **about: Any) -> None:
    rows = [
        {"at": now, "kind": kind, "job_id": job_id, "attempt_id": None, "slot_id": None, "data": about}
        for job_id in jobs
    ]
    if rows:
        session.execute(statements.RECORD, rows)
