"""What is compared, by the words a person writes: `12` or `job:12`, `batch:3`, `pipeline:7`, `run:5`.

Of a batch or a pipeline, the jobs that answer prompts are compared; builds and servers are not.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import BadRequest, NotFound
from orchestrator.model.specs import PRODUCES
from orchestrator.storage.tables import Base, Batch, Job, Pipeline
from orchestrator.strict_json import LARGEST_INTEGER

MOST_SUBJECTS = 50
"""Subjects of one comparison."""

MOST_RUNS = 2_000
"""Jobs of one comparison, over all its subjects."""

ANSWERING = frozenset(kind for kind, product in PRODUCES.items() if product == "answers")
"""Kinds of jobs that can be compared."""

_WORD = re.compile(r"(?:(job|batch|pipeline|run):)?([0-9]{1,19})", re.ASCII)


@dataclass(frozen=True)
class ResultSubject:
    """What a person named, and the jobs that it stands for, by number."""

    label: str
    job_ids: tuple[int, ...]


def resolve(session: Session, words: Sequence[str]) -> list[ResultSubject]:
    """The subjects in the order in which they are named; the first is the baseline.

    BadRequest if there are fewer than two or more than `MOST_SUBJECTS`, if one has no job that answers prompts, or if
    a job belongs to two of them; NotFound if there is none by that number."""
    if len(words) < 2:
        raise BadRequest("name at least two subjects, such as job:1 and job:2", field="subject")
    if len(words) > MOST_SUBJECTS:
        raise BadRequest(f"{len(words)} subjects are too many: at most {MOST_SUBJECTS}", field="subject")
    subjects = [_resolved(session, word) for word in words]
    owners: dict[int, str] = {}
    for subject in subjects:
        for job_id in subject.job_ids:
            if (other := owners.setdefault(job_id, subject.label)) is not subject.label:
                where = "is named twice" if other == subject.label else f"is in {other} and {subject.label}"
                raise BadRequest(f"job {job_id} {where}: a run cannot be compared with itself", field="subject")
    if len(owners) > MOST_RUNS:
        raise BadRequest(f"{len(owners)} jobs are too many: at most {MOST_RUNS} in one comparison", field="subject")
    return subjects


def _resolved(session: Session, word: str) -> ResultSubject:
    match = _WORD.fullmatch(word)
    if match is None or not 1 <= int(match[2]) <= LARGEST_INTEGER:
        raise BadRequest(
            f"{word[:50]!r} is no subject: write a job's number, job:N, batch:N, pipeline:N or run:N", field="subject"
        )
    kind, number = match[1] or "job", int(match[2])
    label = f"{kind}:{number}"
    jobs = _jobs_of(session, kind, number)
    found = tuple(job_id for job_id, job_kind in jobs if job_kind in ANSWERING)
    if not found:
        which = f"job {number} is of kind {jobs[0][1]}" if kind == "job" else f"{label} has no such job"
        kinds = ", ".join(sorted(ANSWERING))
        raise BadRequest(f"only jobs that answer prompts ({kinds}) can be compared, and {which}", field="subject")
    return ResultSubject(label, found)


def _jobs_of(session: Session, kind: str, number: int) -> Sequence[Any]:
    """Number and kind of each job; NotFound if there is no such thing."""
    jobs = select(Job.id, Job.kind).order_by(Job.id)
    match kind:
        case "job":
            found = session.execute(jobs.where(Job.id == number)).all()
            if not found:
                raise NotFound(f"there is no job {number}", field="subject")
            return found
        case "batch":
            if session.get(Batch, number) is None:
                raise NotFound(f"there is no batch {number}", field="subject")
            return session.execute(jobs.where(Job.batch_id == number)).all()
        case "pipeline":
            if session.get(Pipeline, number) is None:
                raise NotFound(f"there is no pipeline {number}", field="subject")
            return session.execute(jobs.where(Job.pipeline_id == number)).all()
    return _jobs_of_suite_run(session, number)


def _jobs_of_suite_run(session: Session, number: int) -> Sequence[Any]:
    """Of the table that suites write, which is known by its name alone: suites stand above comparisons."""
    table = Base.metadata.tables.get("suite_job")
    if table is None:
        raise BadRequest("run:N needs suites, which this server does not have: name its jobs", field="subject")
    measured = select(table.c.job_id).where(table.c.run_id == number, table.c.role.in_(("measure", "repeat")))
    found = session.execute(select(Job.id, Job.kind).where(Job.id.in_(measured)).order_by(Job.id)).all()
    if not found:
        raise NotFound(f"there is no suite run {number} with jobs", field="subject")
    return found
