"""How much slot time each project has used, and its weight.

One row per project: written in the transaction in which an attempt ends, never recomputed from history. The
row is locked last, after job, attempt, lease and slot, so that two attempts that end never deadlock.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, bindparam, select, update
from sqlalchemy.orm import Session

from orchestrator.jobs import line
from orchestrator.model.shares import LEAST_CHARGE, Share, faded
from orchestrator.settings import Settings
from orchestrator.storage.database import Database, run
from orchestrator.storage.tables import Base, Project

HALF_LIFE: timedelta = Settings.model_fields["share_half_life"].default
"""Used for a project until the dispatcher has stored its own, within a second."""

# Built once, on plain tables, which is several times faster: every turn and every end of an attempt runs them.

_JOB, _ATTEMPT, _LEASE, _PROJECT = (Base.metadata.tables[name] for name in ("job", "attempt", "lease", "project"))
_ALL = select(_PROJECT)
_LEASED = select(_JOB.c.project, _ATTEMPT.c.started_at).where(
    _ATTEMPT.c.id == _LEASE.c.attempt_id, _JOB.c.id == _ATTEMPT.c.job_id
)
_OWNER = (
    select(_PROJECT)
    .where(_PROJECT.c.name == select(_JOB.c.project).where(_JOB.c.id == bindparam("charged")).scalar_subquery())
    .with_for_update()
)
_CHARGE = update(_PROJECT).where(_PROJECT.c.name == bindparam("owner"))


def enrol(session: Session, name: str, *, now: datetime) -> Project:
    """The project's row, made at its first job. The caller holds the admission lock, so that two processes never create
    it at once."""
    project = session.get(Project, name)
    if project is None:
        project = Project(
            name=name, weight=1.0, used_seconds=0.0, used_at=now, half_life_seconds=HALF_LIFE.total_seconds()
        )
        session.add(project)
        session.flush()
    return project


def charge(session: Session, job_id: int, seconds: float, *, now: datetime) -> None:
    """Add the slot-seconds that an attempt had to what its job's project has used."""
    owner = run(session, _OWNER, charged=job_id).one()
    used = used_now(owner, now) + seconds
    run(session, _CHARGE, owner=owner.name, used_seconds=used, used_at=max(now, owner.used_at))


def set_weight(session: Session, name: str, weight: float, *, now: datetime) -> Project:
    """Set the weight of a project, which may have had no job yet."""
    line.forget(session, now=now)
    project = enrol(session, name, now=now)
    project.weight = weight
    session.flush()
    return project


def set_half_life(database: Database, half_life: timedelta) -> int:
    """Apply the configured half-life to the usage of every project; returns how many had another one.
    Usage that has decayed already is not changed."""
    seconds = half_life.total_seconds()
    other = Project.half_life_seconds != seconds
    with database.read() as session:
        if session.scalar(select(Project.name).where(other).limit(1)) is None:
            return 0
    with database.write() as session:
        now = database.now(session)
        projects = session.scalars(_locked(other).order_by(Project.name)).all()
        for project in projects:
            _settle(project, now)
            project.half_life_seconds = seconds
        return len(projects)


def all_shares(session: Session, now: datetime) -> dict[str, Share]:
    """The usage of every project: of attempts that have ended, and of running attempts so far.

    A running attempt counts as at least `LEAST_CHARGE`, so that no project gets all free slots at once.
    """
    found = {row.name: Share(used_now(row, now), row.weight) for row in session.execute(_ALL)}
    for name, since in session.execute(_LEASED):
        seconds = 0.0 if since is None else (now - since).total_seconds()
        found[name] = found.get(name, Share()).charged(max(LEAST_CHARGE, seconds))
    return found


def used_now(project: Project | Row[Any], now: datetime) -> float:
    """The project's used seconds after decay."""
    half_life = timedelta(seconds=project.half_life_seconds)
    return faded(project.used_seconds, age=now - project.used_at, half_life=half_life)


def _locked(which: ColumnElement[bool]) -> Select[Project]:
    return select(Project).where(which).with_for_update().execution_options(populate_existing=True)


def _settle(project: Project, now: datetime) -> None:
    project.used_seconds, project.used_at = used_now(project, now), max(now, project.used_at)
