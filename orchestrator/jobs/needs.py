"""What it means that a job's need of another is met: said once, as conditions for every statement that asks."""

from sqlalchemy import ColumnElement, Exists, FromClause, and_, exists, or_

from orchestrator.model.states import FINAL, JobState, Until
from orchestrator.storage.tables import Base

NEED, _ENDPOINT = (Base.metadata.tables[name] for name in ("job_need", "endpoint"))


def met(needed: FromClause) -> ColumnElement[bool]:
    """Whether a row of `NEED` is met by the job it points at.

    A server that is being stopped is as good as closed: who began with it now would be cut off. One that was found
    gone is so too, before its own attempt is known to have ended.
    """
    ended_well = and_(NEED.c.until == Until.SUCCEEDED, needed.c.state == JobState.SUCCEEDED)
    answers = or_(NEED.c.gone_attempt_id.is_(None), NEED.c.gone_attempt_id != _ENDPOINT.c.attempt_id)
    its_own = exists().where(_ENDPOINT.c.job_id == needed.c.id, _ENDPOINT.c.closed_at.is_(None), answers)
    staying = and_(needed.c.stop.is_(None), ~needed.c.cancel_requested)
    return or_(ended_well, and_(NEED.c.until == Until.READY, staying, its_own))


def unmet(job: FromClause, needed: FromClause) -> Exists:
    """Whether a job needs something that is not there, be it still to come or never."""
    return exists().where(NEED.c.job_id == job.c.id, NEED.c.needs_id == needed.c.id, ~met(needed))


def pending(job: FromClause, needed: FromClause) -> Exists:
    """Whether a job needs something that may still come."""
    return unmet(job, needed).where(needed.c.state.not_in(FINAL))


def broken(job: FromClause, needed: FromClause) -> Exists:
    """Whether a job needs something that will never come."""
    return unmet(job, needed).where(needed.c.state.in_(FINAL))
