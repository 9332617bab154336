"""From an artifact back to what it was built from: kernel image, C source, quantised weights, model."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.storage.tables import Artifact, Document, Job, JobInput, Model, Release

_NO_INPUTS = ("prompts", "golden", "log")
"""Artifacts of a job that it was given, and its log: who else has the same bytes took nothing from it."""

_MOST_OUTPUTS = 50
"""Outputs of a job whose users are looked for; a tool leaves a handful."""

_DEEPEST = 12
"""Builds in a row behind one artifact; there are three: quantised weights, C source, kernel image."""


@dataclass(frozen=True)
class InputOrigin:
    """An input of a job, and the job that made it; None if that is not known, or it came from outside."""

    taken: JobInput
    maker: Job | None


@dataclass(frozen=True)
class Use:
    """A job that took an artifact as one of its inputs."""

    job: Job
    name: str
    """What it calls it."""


def origins(session: Session, job_id: int) -> list[InputOrigin]:
    """Where the inputs of a job come from."""
    inputs = session.scalars(select(JobInput).where(JobInput.job_id == job_id).order_by(JobInput.name))
    return [InputOrigin(each, _maker(session, each)) for each in inputs]


def uses(session: Session, job_id: int, *, limit: int) -> list[Use]:
    """The jobs that took what a job made, newest first.

    A kernel image may have a hundred thousand users: of each digest only the newest are read, by its index."""
    made = select(Artifact.digest).where(Artifact.job_id == job_id, Artifact.name.not_in(_NO_INPUTS)).distinct()
    found: list[tuple[int, str]] = []
    for digest in session.scalars(made.limit(_MOST_OUTPUTS)).all():
        taken = select(JobInput.job_id, JobInput.name).where(JobInput.digest == digest, JobInput.job_id != job_id)
        found += [
            (row.job_id, row.name) for row in session.execute(taken.order_by(JobInput.job_id.desc()).limit(limit))
        ]
    newest = sorted(found, reverse=True)[:limit]
    jobs = {job.id: job for job in session.scalars(select(Job).where(Job.id.in_({each for each, _ in newest})))}
    return [Use(jobs[number], name) for number, name in newest]


def _maker(session: Session, taken: JobInput) -> Job | None:
    made_by = taken.from_job_id
    if made_by is None and taken.digest is not None:
        made = select(Artifact.job_id).where(Artifact.digest == taken.digest, Artifact.attempt_id.is_not(None))
        made_by = session.scalar(made.order_by(Artifact.id).limit(1))
    return None if made_by is None else session.get(Job, made_by)


def backend_type(session: Session, kcore: str) -> str | None:
    """The backend model type that a kernel image was converted for; None if that is not known."""
    types = (build.get("spec", {}).get("backend_type") for build in builds_behind(session, "kcore", kcore))
    return next((each for each in types if each is not None), None)


def builds_behind(session: Session, name: str, digest: str | None, *, made_by: int | None = None) -> list[Document]:
    """The builds that made an artifact, from the nearest to the first; `made_by` is the job it was taken from.

    Each with its job, spec, release and digests. Of an imported artifact: what is known about it."""
    found: list[Document] = []
    seen: set[int] = set()
    while digest is not None and len(found) < _DEEPEST:
        artifact = _artifact(session, name, digest, made_by)
        if artifact is None or artifact.job_id is None:
            found += [{"name": name, "digest": digest, "imported": artifact.facts}] if artifact else []
            return found
        job = session.get_one(Job, artifact.job_id)
        if job.id in seen:
            return found
        seen.add(job.id)
        inputs = session.scalars(select(JobInput).where(JobInput.job_id == job.id).order_by(JobInput.name)).all()
        found.append(_build(session, name, digest, job, inputs))
        before = next((each for each in inputs if each.name in ("c_source", "gm")), None)
        if before is None:
            return found
        name, digest, made_by = before.name, before.digest, before.from_job_id
    return found


def _artifact(session: Session, name: str, digest: str, made_by: int | None) -> Artifact | None:
    same = select(Artifact).where(Artifact.digest == digest, Artifact.name == name).order_by(Artifact.id)
    rows = session.scalars(same).all()
    by_that_job = [row for row in rows if row.job_id is not None and row.job_id == made_by]
    built = [row for row in rows if row.job_id is not None]
    return next(iter([*by_that_job, *built, *rows]), None)


def _build(session: Session, name: str, digest: str, job: Job, inputs: Sequence[JobInput]) -> Document:
    release = session.get(Release, job.release) if job.release else None
    model = session.get(Model, job.spec["model"]) if "model" in job.spec else None
    return {
        "name": name, "digest": digest, "job": job.id, "kind": job.kind, "spec": job.spec,
        "release": release and release.name, "release_digest": release and release.digest,
        "model_digest": model and model.digest, "inputs": {each.name: each.digest for each in inputs},
    }  # fmt: skip
