"""The SELECTs that API and command line use to show jobs, their events, and pipelines.

A keyset cursor names the last row seen, not the number of rows seen, so that a page does not shift while rows are
added. All functions read in the caller's session and change nothing.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import Select, Text, bindparam, func, select, tuple_
from sqlalchemy.orm import Session, aliased

from orchestrator.errors import AnsweredFromCache, NotFound
from orchestrator.model.failures import FailureKind
from orchestrator.model.profile import Profile
from orchestrator.model.states import FINAL, AttemptState, JobState
from orchestrator.storage.tables import (
    Answer,
    Artifact,
    Attempt,
    Base,
    Batch,
    Document,
    Doubt,
    Endpoint,
    Event,
    Job,
    JobInput,
    JobNeed,
    Metric,
    Pipeline,
    Release,
)

R = TypeVar("R", bound=Base)


@dataclass(frozen=True)
class JobFilter:
    """Which jobs a list shows; a field that is None or empty does not filter."""

    states: Collection[JobState] = ()
    kind: str | None = None
    project: str | None = None
    model: str | None = None
    pipeline: int | None = None
    batch: int | None = None
    slot: str | None = None
    name: str | None = None
    submitted_by: str | None = None
    since: datetime | None = None
    """Submitted then or later."""
    text: str | None = None
    """A part of the name; case is ignored."""
    failed_after: datetime | None = None
    release: str | None = None
    until: datetime | None = None
    """Submitted before."""
    failure: FailureKind | None = None
    """Why it failed."""

    def narrow(self, jobs: Select[Any]) -> Select[Any]:
        """The same SELECT with these conditions."""
        equal = {
            Job.kind: self.kind, Job.project: self.project, Job.pipeline_id: self.pipeline, Job.batch_id: self.batch,
            Job.name: self.name, Job.submitted_by: self.submitted_by, Job.release: self.release,
        }  # fmt: skip
        jobs = jobs.where(*(column == value for column, value in equal.items() if value is not None))
        if self.since is not None:
            jobs = jobs.where(Job.created_at >= self.since)
        if self.until is not None:
            jobs = jobs.where(Job.created_at < self.until)
        if self.failure is not None:
            jobs = jobs.where(Job.state == JobState.FAILED, Job.failure["kind"].as_string() == self.failure)
        if self.states:
            jobs = jobs.where(Job.state.in_(self.states))
        if self.model is not None:
            jobs = jobs.where(Job.spec["model"].as_string() == self.model)
        if self.slot is not None:
            # A JSON list of names. No name can contain a quotation mark, so a name is found by its text.
            among = Attempt.slot_ids.cast(Text).contains(f'"{self.slot}"', autoescape=True)
            jobs = jobs.where(Job.id.in_(select(Attempt.job_id).where(among)))
        if self.failed_after is not None:
            jobs = jobs.where(Job.state == JobState.FAILED, Job.ended_at >= self.failed_after)
        if self.text is not None:
            jobs = jobs.where(Job.name.icontains(self.text, autoescape=True))
        return jobs


@dataclass(frozen=True)
class GroupFilter:
    """Which pipelines or batches a list shows; a field that is None does not filter."""

    project: str | None = None
    name: str | None = None
    submitted_by: str | None = None
    since: datetime | None = None
    """Submitted then or later."""

    def narrow(self, groups: Select[Any], table: type[Pipeline] | type[Batch]) -> Select[Any]:
        """The same SELECT from `table` with these conditions."""
        equal = {table.project: self.project, table.name: self.name, table.submitted_by: self.submitted_by}
        groups = groups.where(*(column == value for column, value in equal.items() if value is not None))
        return groups if self.since is None else groups.where(table.created_at >= self.since)


@dataclass(frozen=True)
class ListedJob:
    """A job, and the slots and progress of its latest attempt."""

    job: Job
    last_slot_ids: Sequence[str] | None
    progress: Document | None = None
    """What the tool of that attempt has reported last."""


@dataclass(frozen=True)
class JobFacts:
    """Everything known about one job."""

    listed: ListedJob
    now: datetime
    needs: Sequence[Job]
    needed_by: Sequence[Job]
    inputs: Sequence[JobInput]
    attempts: Sequence[Attempt]
    outputs: Sequence[Artifact]
    metrics: Sequence[Metric]
    answers: int
    endpoint: Endpoint | None
    """For a server, while it is ready."""
    doubt: Doubt | None
    """Why the results of its latest attempt are not used: the latest doubt that counts."""
    queued_because: str | None
    """Details of the event by which it was first queued: why the cache was missed."""


@dataclass(frozen=True)
class PipelineFacts:
    """A pipeline, and the number of its jobs in each state."""

    pipeline: Pipeline
    counts: Counter[JobState] = field(default_factory=Counter)


@dataclass(frozen=True)
class TriedAttempt:
    """Progress of one attempt."""

    id: int
    number: int
    state: AttemptState


# ── jobs ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


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
    found = _as_listed(session, _LISTED_JOB, {"job_id": job_id})
    if not found:
        raise NotFound(f"there is no job {job_id}", job=job_id)
    return found[0]


def locked_version(session: Session, job_id: int) -> int:
    """The version of a job, locked against changes until the caller's transaction ends; NotFound if there is none."""
    version = session.scalar(select(Job.version).where(Job.id == job_id).with_for_update())
    if version is None:
        raise NotFound(f"there is no job {job_id}", job=job_id)
    return version


def job_facts(session: Session, job_id: int, now: datetime) -> JobFacts:
    """Everything known about one job; NotFound if there is none."""
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
        endpoint=session.scalar(select(Endpoint).where(Endpoint.job_id == job_id, Endpoint.closed_at.is_(None))),
        doubt=session.scalar(
            select(Doubt).where(Doubt.attempt_id == latest, Doubt.lifted.is_(None)).order_by(Doubt.id.desc()).limit(1)
        ),
        queued_because=first_queued(session, job_id).get("why"),
    )


def attempt(session: Session, job_id: int, number: int | None) -> Attempt:
    """Attempt `number` of a job, or its latest; NotFound says why there is none, AnsweredFromCache which job ran."""
    row = job(session, job_id).job
    tried = select(Attempt).where(Attempt.job_id == job_id)
    tried = tried.where(Attempt.number == number) if number else tried.order_by(Attempt.number.desc()).limit(1)
    found = session.scalars(tried).one_or_none()
    if found is not None:
        return found
    if row.cached_from is not None:
        raise AnsweredFromCache(
            f"job {job_id} did not run: it was answered from the cache with the result of job {row.cached_from}; "
            f"see: tx81 logs {row.cached_from}, tx81 answers {row.cached_from}",
            job=job_id,
        )
    if number:
        raise NotFound(f"job {job_id} has no attempt {number}; see: tx81 show {job_id}", job=job_id)
    if row.state in FINAL:
        raise NotFound(f"job {job_id} ended as {row.state} before it ran; see: tx81 explain {job_id}", job=job_id)
    raise NotFound(f"job {job_id} has no attempt yet; to see what it waits for: tx81 explain {job_id}", job=job_id)


def failure_pattern(session: Session, attempt_id: int) -> str | None:
    """The pattern of the profile by which the failure of an attempt was found in its log; None if it was not."""
    found = session.execute(
        select(Attempt.failure, Attempt.suspicion, Release.profile)
        .join(Job, Attempt.job_id == Job.id)
        .join(Release, Job.release == Release.name)
        .where(Attempt.id == attempt_id)
    ).one_or_none()
    if found is None:
        return None
    failure, suspicion, profile = found
    named = (failure or {}).get("signature") or (suspicion or {}).get("signature")
    of_logs = (each for each in Profile.model_validate(profile).fault_signatures if each.source == "output")
    return next((each.pattern for each in of_logs if each.name == named), None) if named else None


def progress_of(session: Session, job_id: int) -> tuple[JobState, list[TriedAttempt]]:
    """Progress of a job and of its attempts, by number; NotFound if there is no such job."""
    state = session.scalar(select(Job.state).where(Job.id == job_id))
    if state is None:
        raise NotFound(f"there is no job {job_id}", job=job_id)
    tried = select(Attempt.id, Attempt.number, Attempt.state).where(Attempt.job_id == job_id).order_by(Attempt.number)
    return state, [TriedAttempt(*row) for row in session.execute(tried)]


def first_queued(session: Session, job_id: int) -> Document:
    """Details of the event by which a job was first queued: why the cache was missed; empty if it was never queued."""
    first = select(Event.data).where(Event.job_id == job_id, Event.kind == "job.queued").order_by(Event.id).limit(1)
    return session.scalar(first) or {}


def queued_jobs(session: Session, demands: Collection[str], limit: int) -> list[ListedJob]:
    """The first queued jobs of these demand classes, in the order in which the dispatcher considers them."""
    found = _listed().where(Job.state == JobState.QUEUED, Job.demand.in_(demands))
    return _as_listed(session, found.order_by(Job.priority.desc(), Job.rank, Job.id).limit(limit))


def answers(
    session: Session, attempt_id: int, *, limit: int, after: tuple[int, ...] | None = None, index: int | None = None,
    exact: bool | None = None,
) -> Sequence[Answer]:  # fmt: skip
    """Answers of an attempt after the one of repeat, index and batch `after`; answers to one question are
    consecutive. `index` and `exact` select some of them."""
    found = select(Answer).where(Answer.attempt_id == attempt_id)
    if index is not None:
        found = found.where(Answer.index == index)
    if exact is not None:
        found = found.where(Answer.exact.is_(exact))
    if after is not None:
        found = found.where(tuple_(Answer.repeat, Answer.index, Answer.batch) > after)
    return _all(session, found.order_by(Answer.repeat, Answer.index, Answer.batch).limit(limit))


# ── events ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def events(
    session: Session,
    *,
    after: int,
    limit: int,
    until: int | None = None,
    jobs: Collection[int] = (),
    pipeline: int | None = None,
    batch: int | None = None,
) -> Sequence[Event]:
    """Events with numbers above `after`, up to `until`, oldest first."""
    found = select(Event).where(Event.id > after)
    if until is not None:
        found = found.where(Event.id <= until)
    if jobs:
        found = found.where(Event.job_id.in_(jobs))
    if pipeline is not None:
        found = found.where(Event.job_id.in_(select(Job.id).where(Job.pipeline_id == pipeline)))
    if batch is not None:
        its_own = Event.kind.startswith("batch.") & (Event.data["batch"].as_integer() == batch)
        found = found.where(its_own | Event.job_id.in_(select(Job.id).where(Job.batch_id == batch)))
    return _all(session, found.order_by(Event.id).limit(limit))


# ── pipelines ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def pipelines(session: Session, chosen: GroupFilter, *, limit: int, before: int | None = None) -> list[PipelineFacts]:
    """Pipelines with numbers below `before`, newest first."""
    found = chosen.narrow(select(Pipeline), Pipeline).order_by(Pipeline.id.desc()).limit(limit)
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
    # A job gets its number when it is written, and it is written after all jobs that it needs.
    found = _as_listed(session, _listed().where(Job.pipeline_id == pipeline_id).order_by(Job.id))
    return PipelineFacts(row, Counter(entry.job.state for entry in found)), found


def pipeline_needs(session: Session, pipeline_id: int) -> dict[int, list[int]]:
    """For each job of a pipeline that needs others: their numbers, ascending."""
    found = select(JobNeed.job_id, JobNeed.needs_id).join(Job, Job.id == JobNeed.job_id)
    needs: dict[int, list[int]] = {}
    for job_id, needed in session.execute(found.where(Job.pipeline_id == pipeline_id).order_by(JobNeed.needs_id)):
        needs.setdefault(job_id, []).append(needed)
    return needs


# ── shared steps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _listed() -> Select[Any]:
    tried = aliased(Attempt)
    last = (
        select(column).where(tried.job_id == Job.id).order_by(tried.number.desc()).limit(1).scalar_subquery()
        for column in (tried.slot_ids, tried.progress)
    )
    return select(Job, *last)


_LISTED_JOB = _listed().where(Job.id == bindparam("job_id"))
"""Built once: the answer to every submission uses it."""


def _as_listed(session: Session, found: Select[Any], values: Mapping[str, Any] | None = None) -> list[ListedJob]:
    return [ListedJob(*row) for row in session.execute(found, values)]


def _all(session: Session, found: Select[R]) -> Sequence[R]:
    return session.scalars(found).all()
