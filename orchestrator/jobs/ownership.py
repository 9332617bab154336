"""Whose a running attempt is: the fence of every arrow that its worker walks, and what the two tell each other.

A doorbell decides nothing. A worker may claim only what is leased to its own slot, and whatever it writes later is
compared with the attempt's row once more: same process, same lead slot, still running.
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
    """Who asks for an arrow of an attempt: a worker process, and the slot that it owns.

    An attempt is its own exactly if this process has claimed it and this is the attempt's lead slot."""

    worker: str
    """Name of the process, new at every start."""
    slot_id: str

    @property
    def fence(self) -> dict[str, str]:
        """What `orchestrator.jobs.statements` compare with the attempt's row."""
        return {"owner": self.worker, "lead": self.slot_id}

    @property
    def runs(self) -> tuple[ColumnElement[bool], ...]:
        """The same condition, for other statements: the attempt is its own and runs."""
        return Attempt.worker == self.worker, Attempt.slot_id == self.slot_id, Attempt.state == AttemptState.RUNNING


@dataclass(frozen=True)
class Requests:
    """What was ordered of a running attempt while its worker runs it."""

    cancel_requested: bool
    stop_requested: bool
    """It is a server, and is to end in good order."""


def requests_of(session: Session, attempt_id: int, *, owner: Owner, lock: bool = False) -> Requests:
    """What was ordered of a running attempt; OwnershipLost if it is not this worker's any more.

    With `lock` it stays this worker's until the transaction ends.
    """
    running = select(Job.cancel_requested, Job.stop).join(Attempt, Attempt.job_id == Job.id)
    found = running.where(Attempt.id == attempt_id, *owner.runs)
    asked = session.execute(found.with_for_update(of=Attempt, key_share=True) if lock else found).one_or_none()
    if asked is None:
        raise OwnershipLost("this worker no longer owns the attempt", attempt=attempt_id)
    return Requests(cancel_requested=asked.cancel_requested, stop_requested=asked.stop is not None)


def note_progress(session: Session, attempt_id: int, progress: dict[str, int], *, owner: Owner) -> None:
    """Store the progress that an attempt's tool reports (`done`, `total`); nothing if it is not this worker's."""
    run(session, statements.NOTE_PROGRESS, running=attempt_id, **owner.fence, progress=progress)


def note_misrouted(
    session: Session, attempt_id: int, job_id: int, *, leased_to: str, owner: Owner, now: datetime
) -> None:
    """Count a doorbell that a worker has heard for an attempt of another slot, and has dropped."""
    log.warning("doorbell dropped: it is for another slot", extra={"attempt": attempt_id, "slot": owner.slot_id})
    run(session, statements.COUNT_MISROUTED, rung=owner.slot_id)
    about = {"job_id": job_id, "attempt_id": attempt_id, "slot_id": owner.slot_id}
    record(session, "slot.bell_misrouted", now, **about, leased_to=leased_to)
