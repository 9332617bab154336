"""What each project has had of the slots' time, and what it is entitled to.

Kept in one row a project: written in the transaction in which an attempt ends, never computed again from history. The
row is locked last, after job, attempt, lease and slot, so that two endings never wait for each other in a circle.
"""

from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.orm import Session

from orchestrator.placement.order import LEAST_CHARGE, Share, faded
from orchestrator.settings import Settings
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Job, Lease, Project

HALF_LIFE: timedelta = Settings.model_fields["share_half_life"].default
"""Of a project until the dispatcher has set its own, within a second."""


def enrol(session: Session, name: str, *, now: datetime) -> Project:
    """The project's row, made at its first job. The caller serialises "admission", so that no two make it at once."""
    project = session.get(Project, name)
    if project is None:
        project = Project(
            name=name, weight=1.0, used_seconds=0.0, used_at=now, half_life_seconds=HALF_LIFE.total_seconds()
        )
        session.add(project)
        session.flush()
    return project


def charge(session: Session, job_id: int, seconds: float, *, now: datetime) -> None:
    """Add the slot-seconds that an attempt held to what its job's project has used."""
    owner = select(Job.project).where(Job.id == job_id).scalar_subquery()
    project = session.scalars(_locked(Project.name == owner)).one()
    _settle(project, now)
    project.used_seconds += seconds
    session.flush()


def set_weight(session: Session, name: str, weight: float, *, now: datetime) -> Project:
    """Give a project another weight; it need not have had a job yet."""
    project = enrol(session, name, now=now)
    project.weight = weight
    session.flush()
    return project


def keep_half_life(database: Database, half_life: timedelta) -> None:
    """See to it that every project's use fades as the setting says; what had faded before stays as it was."""
    seconds = half_life.total_seconds()
    other = Project.half_life_seconds != seconds
    with database.read() as session:
        if session.scalar(select(Project.name).where(other).limit(1)) is None:
            return
    with database.write() as session:
        now = database.now(session)
        for project in session.scalars(_locked(other).order_by(Project.name)):
            _settle(project, now)
            project.half_life_seconds = seconds


def all_shares(session: Session, now: datetime) -> dict[str, Share]:
    """How every project stands: what has ended, and what its attempts under way have held so far.

    An attempt under way counts as at least `LEAST_CHARGE`, so that nobody gets all slots that are free at once.
    """
    found = {row.name: Share(used_now(row, now), row.weight) for row in session.scalars(select(Project))}
    held = (
        select(Job.project, func.coalesce(Attempt.started_at, now))
        .select_from(Lease)
        .join(Attempt, Attempt.id == Lease.attempt_id)
        .join(Job, Job.id == Attempt.job_id)
    )
    for name, since in session.execute(held):
        found[name] = found.get(name, Share()).charged(max(LEAST_CHARGE, (now - since).total_seconds()))
    return found


def used_now(project: Project, now: datetime) -> float:
    """What is left of the project's used seconds."""
    half_life = timedelta(seconds=project.half_life_seconds)
    return faded(project.used_seconds, age=now - project.used_at, half_life=half_life)


def _locked(which: ColumnElement[bool]) -> Select[Project]:
    return select(Project).where(which).with_for_update().execution_options(populate_existing=True)


def _settle(project: Project, now: datetime) -> None:
    project.used_seconds, project.used_at = used_now(project, now), max(now, project.used_at)
