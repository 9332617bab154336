"""Attempts whose cards came under suspicion after their end was reported."""

from collections.abc import Collection

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orchestrator.model.failures import Suspicion
from orchestrator.storage.tables import Attempt, Job


def note(session: Session, attempt_ids: Collection[int], suspicion: Suspicion) -> None:
    """Store it with these attempts, as their own ends would have; the results stay, and prove nothing of their cards.

    An attempt that has a suspicion keeps it. The caller quarantines the slots."""
    hit = (Attempt.id.in_(attempt_ids), Attempt.suspicion.is_(None))
    jobs = select(Attempt.job_id).where(*hit)
    # Before the attempts: rows are locked in the order job, attempt.
    session.execute(update(Job).where(Job.id.in_(jobs)).values(version=Job.version + 1))
    session.execute(update(Attempt).where(*hit).values(suspicion=suspicion.model_dump(mode="json")))
