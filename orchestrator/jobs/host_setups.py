"""What an attempt that sets its host up reads and writes of its own job."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orchestrator.storage.tables import Job


def asked_by(session: Session, job_id: int) -> str:
    """Who has asked for it."""
    request = session.execute(select(Job.request).where(Job.id == job_id)).scalar_one()
    return str(request["by"])


def lock(session: Session, job_id: int) -> None:
    """Lock the job, before its attempt and its slots, as every arrow of `orchestrator.jobs.lifecycle` does."""
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update(key_share=True)).scalar_one()


def note_release(session: Session, job_id: int, release: str) -> None:
    """Say which release the job has installed and registered."""
    session.execute(update(Job).where(Job.id == job_id).values(release=release))
