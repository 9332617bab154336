"""Which worker owns a running attempt: the fence of every transition by a worker, and what worker and database
exchange.

A doorbell decides nothing. A worker may claim only what is leased to its own slot, and whatever it writes later is
checked again against the attempt's row: same process, same lead slot, still running.
"""

import logging
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from orchestrator.errors import OwnershipLost
from orchestrator.jobs import statements
from orchestrator.model.states import AttemptState
from orchestrator.storage.database import run
from orchestrator.storage.events import record
from orchestrator.storage.tables import Attempt, Job

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Owner:
    """The caller of a transition: a worker process, and the slot that it owns.

    It owns an attempt exactly if this process has claimed it and this is the attempt's lead slot."""

    worker: str
    """Name of the process, different after every start."""
    slot_id: str

    @property
    def fence(self) -> dict[str, str]:
        """The values that `orchestrator.jobs.statements` compare with the attempt's row."""
        return {"owner": self.worker, "lead": self.slot_id}

    @property
    def runs(self) -> tuple[ColumnElement[bool], ...]:
        """The same condition for other statements: the owner has the attempt, and it runs."""
        return Attempt.worker == self.worker, Attempt.slot_id == self.slot_id, Attempt.state == AttemptState.RUNNING


@dataclass(frozen=True)
class Requests:
    """Orders for a running attempt."""

    cancel_requested: bool
    stop_requested: bool
    """It is a server, and shall stop gracefully."""


def requests_of(session: Session, attempt_id: int, *, owner: Owner, lock: bool = False) -> Requests:
    """Orders for a running attempt; OwnershipLost if it no longer belongs to this worker.

    With `lock` this cannot change until the transaction ends.
    """
    running = select(Job.cancel_requested, Job.stop).join(Attempt, Attempt.job_id == Job.id)
    found = running.where(Attempt.id == attempt_id, *owner.runs)
    asked = session.execute(found.with_for_update(of=Attempt, key_share=True) if lock else found).one_or_none()
    if asked is None:
        raise OwnershipLost("this worker no longer owns the attempt", attempt=attempt_id)
    return Requests(cancel_requested=asked.cancel_requested, stop_requested=asked.stop is not None)


def note_progress(session: Session, attempt_id: int, progress: dict[str, int], *, owner: Owner) -> None:
    """Store the progress that an attempt's tool reports (`done`, `total`); does nothing if it does not belong to this
    worker."""
    run(session, statements.NOTE_PROGRESS, running=attempt_id, **owner.fence, progress=progress)


def note_misrouted(
    session: Session, attempt_id: int, job_id: int, *, leased_to: str, owner: Owner, now: datetime
) -> None:
    """Count a doorbell that a worker received for an attempt of another slot and dropped."""
    log.warning("doorbell dropped: it is for another slot", extra={"attempt": attempt_id, "slot": owner.slot_id})
    run(session, statements.COUNT_MISROUTED, rung=owner.slot_id)
    about = {"job_id": job_id, "attempt_id": attempt_id, "slot_id": owner.slot_id}
    record(session, "slot.bell_misrouted", now, **about, leased_to=leased_to)
