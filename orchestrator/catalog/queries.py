"""Reads artifacts, models and releases."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import NotFound
from orchestrator.storage.tables import Artifact, Base, Model, Release

R = TypeVar("R", bound=Base)


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
    return session.scalars(found.order_by(Artifact.id.desc()).limit(limit)).all()


def artifact(session: Session, artifact_id: int) -> Artifact:
    """One artifact; NotFound if there is none."""
    return _one(session, Artifact, artifact_id, "artifact")


def models(session: Session) -> Sequence[Model]:
    """All models by name."""
    return session.scalars(select(Model).order_by(Model.name)).all()


def model(session: Session, name: str) -> Model:
    """One model; NotFound if there is none."""
    return _one(session, Model, name, "model")


def releases(session: Session) -> Sequence[Release]:
    """All releases by name."""
    return session.scalars(select(Release).order_by(Release.name)).all()


def release(session: Session, name: str) -> Release:
    """One release; NotFound if there is none."""
    return _one(session, Release, name, "release")


def _one(session: Session, table: type[R], key: int | str, what: str) -> R:
    found = session.get(table, key)
    if found is None:
        raise NotFound(f"there is no {what} {key}")
    return found
