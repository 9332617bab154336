"""What an attempt that sets up its host reads from and writes to its own job."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orchestrator.storage.tables import Job


def asked_by(session: Session, job_id: int) -> str:
    """The user who requested it."""
    request = session.execute(select(Job.request).where(Job.id == job_id)).scalar_one()
    return str(request["by"])


def lock(session: Session, job_id: int) -> None:
    """Lock the job, before its attempt and its slots, as every transition in `orchestrator.jobs.lifecycle` does."""
    session.execute(select(Job.id).where(Job.id == job_id).with_for_update(key_share=True)).scalar_one()


def note_release(session: Session, job_id: int, release: str) -> None:
    """Record which release the job has installed and registered."""
    session.execute(update(Job).where(Job.id == job_id).values(release=release))
