"""Every SELECT a page or the command line needs: lists by keyset, details, and what a slot is doing.

A keyset cursor names the last row seen, not how many were seen, so that a page does not shift while rows are added.
All functions read in the caller's session and change nothing.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from orchestrator.errors import NotFound
from orchestrator.model.states import JobState
from orchestrator.placement.demand import Demand
from orchestrator.storage.tables import (
    Answer,
    Artifact,
    Attempt,
    Base,
    Event,
    Job,
    JobInput,
    JobNeed,
    Leader,
    Lease,
    Metric,
    Model,
    Pipeline,
    Release,
    Slot,
)

R = TypeVar("R", bound=Base)

LONGEST_QUEUE_SHOWN = 100


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a list shows; what is None or empty filters nothing."""

    states: Collection[JobState] = ()
    kind: str | None = None
    project: str | None = None
    model: str | None = None
    pipeline: int | None = None
    slot: str | None = None
    name: str | None = None
    text: str | None = None
    """A part of the name, whatever its case."""

    def narrow(self, jobs: Select[Any]) -> Select[Any]:
        """The same SELECT with these conditions."""
        equal = {Job.kind: self.kind, Job.project: self.project, Job.pipeline_id: self.pipeline, Job.name: self.name}
        jobs = jobs.where(*(column == value for column, value in equal.items() if value is not None))
        if self.states:
            jobs = jobs.where(Job.state.in_(self.states))
        if self.model is not None:
            jobs = jobs.where(Job.spec["model"].as_string() == self.model)
        if self.slot is not None:
            jobs = jobs.where(Job.id.in_(select(Attempt.job_id).where(Attempt.slot_id == self.slot)))
        if self.text is not None:
            jobs = jobs.where(Job.name.icontains(self.text, autoescape=True))
        return jobs


@dataclass(frozen=True)
class ListedJob:
    """A job, and the slot of its latest attempt."""

    job: Job
    last_slot_id: str | None


@dataclass(frozen=True)
class JobFacts:
    """Everything known of one job."""

    listed: ListedJob
    now: datetime
    needs: Sequence[Job]
    needed_by: Sequence[Job]
    inputs: Sequence[JobInput]
    attempts: Sequence[Attempt]
    outputs: Sequence[Artifact]
    metrics: Sequence[Metric]
    answers: int
    queued_because: str | None
    """What the event says with which it was first queued: why the cache was missed."""


@dataclass(frozen=True)
class PipelineFacts:
    """A pipeline, and how many of its jobs are in which state."""

    pipeline: Pipeline
    counts: Counter[JobState] = field(default_factory=Counter)


@dataclass(frozen=True)
class SlotFacts:
    """A slot, what holds it, and how many jobs wait for it alone."""

    slot: Slot
    lease: Lease | None
    attempt: Attempt | None
    job: Job | None
    queued: int


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def jobs(session: Session, chosen: JobFilter, *, limit: int, before: int | None = None) -> list[ListedJob]:
    """Jobs with numbers below `before`, newest first."""
    found = chosen.narrow(_listed())
    if before is not None:
        found = found.where(Job.id < before)
    return _as_listed(session, found.order_by(Job.id.desc()).limit(limit))


def jobs_by_number(session: Session, numbers: Sequence[int]) -> list[ListedJob]:
    """These jobs, in this order."""
    found = {entry.job.id: entry for entry in _as_listed(session, _listed().where(Job.id.in_(numbers)))}
    return [found[number] for number in numbers]


def job(session: Session, job_id: int) -> ListedJob:
    """One job; NotFound if there is none."""
    found = _as_listed(session, _listed().where(Job.id == job_id))
    if not found:
        raise NotFound(f"there is no job {job_id}", job=job_id)
    return found[0]


def job_facts(session: Session, job_id: int, now: datetime) -> JobFacts:
    """Everything known of one job; NotFound if there is none."""
    listed = job(session, job_id)
    attempts = _all(session, select(Attempt).where(Attempt.job_id == job_id).order_by(Attempt.number))
    latest = attempts[-1].id if attempts else None
    needs = select(Job).join(JobNeed, JobNeed.needs_id == Job.id).where(JobNeed.job_id == job_id)
    needed_by = select(Job).join(JobNeed, JobNeed.job_id == Job.id).where(JobNeed.needs_id == job_id)
    measured = select(Metric).join(Attempt, Metric.attempt_id == Attempt.id).where(Attempt.job_id == job_id)
    counted = select(func.count()).select_from(Answer).where(Answer.attempt_id == latest)
    return JobFacts(
        listed=listed,
        now=now,
        needs=_all(session, needs.order_by(Job.id)),
        needed_by=_all(session, needed_by.order_by(Job.id)),
        inputs=_all(session, select(JobInput).where(JobInput.job_id == job_id).order_by(JobInput.name)),
        attempts=attempts,
        outputs=_all(session, select(Artifact).where(Artifact.job_id == job_id).order_by(Artifact.id)),
        metrics=_all(session, measured.order_by(Metric.attempt_id, Metric.name)),
        answers=session.scalar(counted) or 0,
        queued_because=_queued_because(session, job_id),
    )


def attempt(session: Session, job_id: int, number: int | None) -> Attempt:
    """Attempt `number` of a job, or its latest; NotFound says which of the two is missing."""
    row = job(session, job_id).job
    tried = select(Attempt).where(Attempt.job_id == job_id)
    tried = tried.where(Attempt.number == number) if number else tried.order_by(Attempt.number.desc()).limit(1)
    found = session.scalars(tried).one_or_none()
    if found is None:
        wanted = f"no attempt {number}" if number else "no attempt yet"
        source = f"; its result is that of job {row.cached_from}" if row.cached_from else ""
        raise NotFound(f"job {job_id} has {wanted}{source}", job=job_id)
    return found


def answers(session: Session, attempt_id: int, *, limit: int, after: tuple[int, int] | None = None) -> Sequence[Answer]:
    """Answers of an attempt behind the one of repeat and index `after`, in order."""
    found = select(Answer).where(Answer.attempt_id == attempt_id)
    if after is not None:
        found = found.where(tuple_(Answer.repeat, Answer.index) > after)
    return _all(session, found.order_by(Answer.repeat, Answer.index).limit(limit))


# ── events ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def events(
    session: Session,
    *,
    after: int,
    limit: int,
    until: int | None = None,
    jobs: Collection[int] = (),
    pipeline: int | None = None,
) -> Sequence[Event]:
    """Events with numbers above `after`, up to `until`, oldest first."""
    found = select(Event).where(Event.id > after)
    if until is not None:
        found = found.where(Event.id <= until)
    if jobs:
        found = found.where(Event.job_id.in_(jobs))
    if pipeline is not None:
        found = found.where(Event.job_id.in_(select(Job.id).where(Job.pipeline_id == pipeline)))
    return _all(session, found.order_by(Event.id).limit(limit))


# ── pipelines ────────────────────────────────────────────────────────────────────────────────────────────────────────


def pipelines(
    session: Session, *, limit: int, before: int | None = None, project: str | None = None, name: str | None = None
) -> list[PipelineFacts]:
    """Pipelines with numbers below `before`, newest first."""
    found = select(Pipeline).order_by(Pipeline.id.desc()).limit(limit)
    wanted = {Pipeline.project: project, Pipeline.name: name}
    found = found.where(*(column == value for column, value in wanted.items() if value is not None))
    if before is not None:
        found = found.where(Pipeline.id < before)
    rows = {row.id: PipelineFacts(row) for row in session.scalars(found)}
    counted = (
        select(Pipeline.id, Job.state, func.count())
        .join(Job, Job.pipeline_id == Pipeline.id)
        .where(Pipeline.id.in_(rows))
        .group_by(Pipeline.id, Job.state)
    )
    for pipeline_id, state, count in session.execute(counted):
        rows[pipeline_id].counts[state] = count
    return list(rows.values())


def pipeline(session: Session, pipeline_id: int) -> tuple[PipelineFacts, list[ListedJob]]:
    """A pipeline with its jobs, each after those it needs; NotFound if there is none."""
    row = session.get(Pipeline, pipeline_id)
    if row is None:
        raise NotFound(f"there is no pipeline {pipeline_id}", pipeline=pipeline_id)
    # A job is numbered when it is written, and it is written after all that it needs.
    found = _as_listed(session, _listed().where(Job.pipeline_id == pipeline_id).order_by(Job.id))
    return PipelineFacts(row, Counter(entry.job.state for entry in found)), found


# ── artifacts, models, releases ──────────────────────────────────────────────────────────────────────────────────────


def artifacts(
    session: Session,
    *,
    limit: int,
    before: int | None = None,
    job: int | None = None,
    name: str | None = None,
    digest: str | None = None,
) -> Sequence[Artifact]:
    """Artifacts with numbers below `before`, newest first."""
    wanted = {Artifact.job_id: job, Artifact.name: name, Artifact.digest: digest}
    found = select(Artifact).where(*(column == value for column, value in wanted.items() if value is not None))
    if before is not None:
        found = found.where(Artifact.id < before)
    return _all(session, found.order_by(Artifact.id.desc()).limit(limit))


def artifact(session: Session, artifact_id: int) -> Artifact:
    """One artifact; NotFound if there is none."""
    return _one(session, Artifact, artifact_id, "artifact")


def models(session: Session) -> Sequence[Model]:
    """All models by name."""
    return _all(session, select(Model).order_by(Model.name))


def model(session: Session, name: str) -> Model:
    """One model; NotFound if there is none."""
    return _one(session, Model, name, "model")


def releases(session: Session) -> Sequence[Release]:
    """All releases by name."""
    return _all(session, select(Release).order_by(Release.name))


def release(session: Session, name: str) -> Release:
    """One release; NotFound if there is none."""
    return _one(session, Release, name, "release")


# ── slots, dispatcher ────────────────────────────────────────────────────────────────────────────────────────────────


def slots(session: Session, slot_id: str | None = None) -> list[SlotFacts]:
    """All slots in the order of hosts and numbers, or the one called `slot_id`; NotFound if there is none."""
    found = (
        select(Slot, Lease, Attempt, Job)
        .outerjoin(Lease, Lease.slot_id == Slot.id)
        .outerjoin(Attempt, Attempt.id == Lease.attempt_id)
        .outerjoin(Job, Job.id == Attempt.job_id)
        .order_by(Slot.host, Slot.kind, func.length(Slot.name), Slot.name)
    )
    if slot_id is not None:
        found = found.where(Slot.id == slot_id)
    classes = _queued_classes(session)
    rows = [SlotFacts(*row, sum(_pinned(classes, row[0]).values())) for row in session.execute(found)]
    if slot_id is not None and not rows:
        raise NotFound(f"there is no slot {slot_id}: slots are written HOST.g3; see GET /api/v1/slots", slot=slot_id)
    return rows


def pinned_queue(session: Session, slot: Slot) -> list[ListedJob]:
    """The first queued jobs that may only run on this slot, in the order in which they are looked at."""
    keys = _pinned(_queued_classes(session), slot).keys()
    found = _listed().where(Job.state == JobState.QUEUED, Job.demand.in_(keys))
    return _as_listed(session, found.order_by(Job.priority.desc(), Job.id).limit(LONGEST_QUEUE_SHOWN))


def dispatcher_alive(session: Session, now: datetime) -> bool:
    """Whether some dispatcher holds the leader's lease."""
    return session.scalar(select(Leader.role).where(Leader.expires_at > now).limit(1)) is not None


# ── shared steps ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _listed() -> Select[Any]:
    tried = aliased(Attempt)
    last_slot = (
        select(tried.slot_id).where(tried.job_id == Job.id).order_by(tried.number.desc()).limit(1).scalar_subquery()
    )
    return select(Job, last_slot)


def _as_listed(session: Session, found: Select[Any]) -> list[ListedJob]:
    return [ListedJob(*row) for row in session.execute(found)]


def _all(session: Session, found: Select[R]) -> Sequence[R]:
    return session.scalars(found).all()


def _one(session: Session, table: type[R], key: int | str, what: str) -> R:
    found = session.get(table, key)
    if found is None:
        raise NotFound(f"there is no {what} {key}")
    return found


def _queued_classes(session: Session) -> dict[str, int]:
    """How many jobs of each demand class are queued: few classes, however long the queue."""
    counted = select(Job.demand, func.count()).where(Job.state == JobState.QUEUED).group_by(Job.demand)
    return dict(session.execute(counted).tuples().all())


def _pinned(classes: Mapping[str, int], slot: Slot) -> dict[str, int]:
    demands = {key: Demand.parse(key) for key in classes}
    return {key: classes[key] for key, demand in demands.items() if demand.only in (slot.id, slot.name)}


def _queued_because(session: Session, job_id: int) -> str | None:
    first = select(Event.data).where(Event.job_id == job_id, Event.kind == "job.queued").order_by(Event.id).limit(1)
    data = session.scalar(first)
    return None if data is None else data.get("why")
