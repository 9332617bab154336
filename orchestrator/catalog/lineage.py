"""From an artifact back to what it was built from: kernel image, C source, quantised weights, model."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.storage.tables import Artifact, Document, Job, JobInput, Model, Release

_DEEPEST = 12
"""Builds in a row behind one artifact; there are three: quantised weights, C source, kernel image."""


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
