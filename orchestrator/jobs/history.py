"""The outcome of a job, from its rows and events: each attempt and why another followed, and the result of the cache
look-up.

All functions read in the caller's session and change nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.jobs import queries
from orchestrator.model.cache_keys import Change, changes
from orchestrator.model.failures import Failure
from orchestrator.model.history import ChangedInput, PastAttempt
from orchestrator.storage.tables import Artifact, Attempt, Event, Job


@dataclass(frozen=True)
class Review:
    """All attempts of a job, and the result of the cache look-up when it was first queued.

    `nearest` is the build that the job was compared with after a cache miss; `changed` is empty if all inputs were the
    same, which means that the stored result no longer existed.
    """

    job: Job
    tries: Sequence[PastAttempt]
    queued_because: str | None
    nearest: int | None
    changed: Sequence[ChangedInput]


def review(session: Session, job_id: int) -> Review:
    """The outcome of a job; NotFound if there is none."""
    job = queries.job(session, job_id).job
    queued = queries.first_queued(session, job_id)
    like = session.get(Job, queued["nearest"]) if queued.get("nearest") is not None else None
    return Review(
        job=job,
        tries=_tries(session, job_id),
        queued_because=queued.get("why"),
        nearest=None if like is None else like.id,
        changed=[] if like is None else _changed(session, job, like),
    )


def _tries(session: Session, job_id: int) -> list[PastAttempt]:
    tries = {
        row.id: PastAttempt(
            number=row.number,
            slot_id=row.slot_id,
            state=row.state,
            started_at=row.started_at,
            ended_at=row.ended_at,
            failure=None if row.failure is None else Failure.model_validate(row.failure),
            placed_because=None,
            again_because=None,
        )
        for row in session.scalars(select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number))
    }
    last: int | None = None
    for event in session.scalars(select(Event).where(Event.job_id == job_id).order_by(Event.id)):
        if event.kind == "attempt.assigned" and event.attempt_id in tries:
            last = event.attempt_id
            tries[last] = replace(tries[last], placed_because=event.data.get("why"))
        elif event.kind in ("job.queued", "job.waiting") and last is not None and "why" in event.data:
            tries[last] = replace(tries[last], again_because=event.data["why"])
    return list(tries.values())


def _changed(session: Session, job: Job, like: Job) -> list[ChangedInput]:
    found = changes(job.cache_parts or {}, like.cache_parts or {})
    return [_with_makers(session, change) for change in found]


def _with_makers(session: Session, change: Change) -> ChangedInput:
    makers = (_maker(session, value) for value in (change.before, change.after))
    return ChangedInput(change.part, change.before, change.after, *makers)


def _maker(session: Session, value: Any) -> int | None:
    """The first job that made the artifact; None if there is no such artifact, or if it was imported."""
    if not isinstance(value, str):
        return None
    made = select(Artifact.job_id).where(Artifact.digest == value, Artifact.attempt_id.is_not(None))
    return session.scalar(made.order_by(Artifact.id).limit(1))
