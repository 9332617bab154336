"""Reads artifacts, models and releases."""

from collections.abc import Sequence
from typing import TypeVar

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from orchestrator.catalog.retirement import names
from orchestrator.errors import NotFound
from orchestrator.model.retirements import Retirable
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
    retired: bool = False,
) -> Sequence[Artifact]:
    """Artifacts with numbers below `before`, newest first: those in use, or those `retired`."""
    wanted = {Artifact.job_id: job, Artifact.name: name, Artifact.digest: digest}
    found = select(Artifact).where(*(column == value for column, value in wanted.items() if value is not None))
    found = found.where(_shown(Artifact.digest, Retirable.ARTIFACT, retired))
    if before is not None:
        found = found.where(Artifact.id < before)
    return session.scalars(found.order_by(Artifact.id.desc()).limit(limit)).all()


def artifact(session: Session, artifact_id: int) -> Artifact:
    """One artifact; NotFound if there is none."""
    return _one(session, Artifact, artifact_id, "artifact")


def models(session: Session, *, retired: bool = False) -> Sequence[Model]:
    """The models in use, or those `retired`, by name."""
    shown = _shown(Model.name, Retirable.MODEL, retired)
    return session.scalars(select(Model).where(shown).order_by(Model.name)).all()


def model(session: Session, name: str) -> Model:
    """One model; NotFound if there is none."""
    return _one(session, Model, name, "model")


def releases(session: Session, *, retired: bool = False) -> Sequence[Release]:
    """The releases in use, or those `retired`, by name."""
    shown = _shown(Release.name, Retirable.RELEASE, retired)
    return session.scalars(select(Release).where(shown).order_by(Release.name)).all()


def release(session: Session, name: str) -> Release:
    """One release; NotFound if there is none."""
    return _one(session, Release, name, "release")


def _shown(name: InstrumentedAttribute[str], kind: Retirable, retired: bool) -> ColumnElement[bool]:
    return name.in_(names(kind)) if retired else name.not_in(names(kind))


def _one(session: Session, table: type[R], key: int | str, what: str) -> R:
    found = session.get(table, key)
    if found is None:
        raise NotFound(f"there is no {what} {key}")
    return found
