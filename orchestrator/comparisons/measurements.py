"""Results as data: every number and every answer with all that it depends on, page by page, newest job first.

One row of metrics is a run with all its numbers; one row of answers is one answer with the number of its run.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Select, exists, func, select, tuple_
from sqlalchemy.orm import Session

from orchestrator.comparisons.runs import Run, read_runs
from orchestrator.jobs.queries import JobFilter
from orchestrator.storage.tables import Answer, Attempt, Job, JobInput, Metric


@dataclass(frozen=True)
class ResultFilter:
    """Whose results are asked for; a field that is None or empty does not filter."""

    jobs: JobFilter
    numbers: Collection[int] = ()
    release: str | None = None
    kcore: str | None = None
    """Digest of the kernel image that ran."""
    since: datetime | None = None
    """Jobs that ended at this time or later."""
    until: datetime | None = None
    """Jobs that ended before."""

    def narrow(self, jobs: Select[Any]) -> Select[Any]:
        """The same SELECT with these conditions."""
        jobs = self.jobs.narrow(jobs)
        if self.numbers:
            jobs = jobs.where(Job.id.in_(self.numbers))
        if self.release is not None:
            jobs = jobs.where(Job.release == self.release)
        if self.kcore is not None:
            ran = select(JobInput.job_id).where(JobInput.name == "kcore", JobInput.digest == self.kcore)
            jobs = jobs.where(Job.id.in_(ran))
        if self.since is not None:
            jobs = jobs.where(Job.ended_at >= self.since)
        if self.until is not None:
            jobs = jobs.where(Job.ended_at < self.until)
        return jobs


@dataclass(frozen=True)
class MeasuredRun:
    """A run and what else a table of results names."""

    run: Run
    job: Job
    slot_ids: Sequence[str]


def measured_runs(
    session: Session, chosen: ResultFilter, *, limit: int, before: int | None = None
) -> list[MeasuredRun]:
    """Jobs that measured something, with numbers below `before`, newest first."""
    measured = exists().where(Attempt.job_id == Job.id, Metric.attempt_id == Attempt.id)
    found = chosen.narrow(select(Job)).where(measured).order_by(Job.id.desc()).limit(limit)
    if before is not None:
        found = found.where(Job.id < before)
    return _as_measured(session, list(session.scalars(found)))


def answers(
    session: Session, chosen: ResultFilter, *, limit: int, after: tuple[int, ...] | None = None
) -> list[tuple[MeasuredRun, Answer]]:
    """Answers of the latest attempts of these jobs, newest job first, then by repeat, prompt and batch.

    `after` is (job, repeat, index, batch) of the last one seen."""
    latest = select(func.max(Attempt.id)).where(Attempt.job_id == Job.id).correlate(Job).scalar_subquery()
    found = select(Answer, Job).join(Attempt, Attempt.id == Answer.attempt_id).join(Job, Job.id == Attempt.job_id)
    found = found.where(Attempt.id == latest, Job.id.in_(chosen.narrow(select(Job.id))))
    if after is not None:
        job, *place = after
        here = tuple_(Answer.repeat, Answer.index, Answer.batch) > tuple(place)
        found = found.where((Job.id < job) | ((Job.id == job) & here))
    ordered = found.order_by(Job.id.desc(), Answer.repeat, Answer.index, Answer.batch).limit(limit)
    rows = [(answer, job) for answer, job in session.execute(ordered)]
    runs = {each.job.id: each for each in _as_measured(session, list({job.id: job for _, job in rows}.values()))}
    return [(runs[job.id], answer) for answer, job in rows]


def _as_measured(session: Session, jobs: Sequence[Job]) -> list[MeasuredRun]:
    runs = {run.job_id: run for run in read_runs(session, [job.id for job in jobs])}
    return [MeasuredRun(runs[job.id], job, runs[job.id].setting.get("slots", [])) for job in jobs]
