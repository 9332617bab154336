"""What happened to a card group: taken out of service and back, evidence against its cards, faults of attempts there.

Cards are swapped while a slot is out of service; what was done is the note of the person who drains or resumes it.
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from orchestrator.model.failures import FailureKind
from orchestrator.storage.tables import SLOT_HISTORY, Attempt, Event


@dataclass(frozen=True)
class SlotEvent:
    """One thing that happened to a slot."""

    at: datetime
    what: str
    """`quarantined`, `drained`, `resumed`, `doubted` …, as the event is called; or `fault`."""
    why: str | None
    by: str | None = None
    job_id: int | None = None
    attempt_id: int | None = None


def history(session: Session, slot_id: str, limit: int) -> list[SlotEvent]:
    """The latest of it, newest first."""
    # As text, because a partial index is only used for the exact text of its condition.
    rows = select(Event).where(Event.slot_id == slot_id, text(SLOT_HISTORY)).order_by(Event.id.desc()).limit(limit)
    found = [_of_event(event) for event in session.scalars(rows)]
    failed = select(Attempt).where(
        Attempt.slot_id == slot_id,
        Attempt.ended_at.is_not(None),
        Attempt.failure["kind"].as_string() == FailureKind.FAULT,
    )
    for attempt in session.scalars(failed.order_by(Attempt.ended_at.desc()).limit(limit)):
        if attempt.ended_at is not None and attempt.failure is not None:
            reason = str(attempt.failure["reason"])
            found.append(SlotEvent(attempt.ended_at, "fault", reason, None, attempt.job_id, attempt.id))
    return sorted(found, key=lambda event: event.at, reverse=True)[:limit]


def _of_event(event: Event) -> SlotEvent:
    data = event.data
    why = data.get("note") or data.get("why") or data.get("reason")
    evidence = data.get("evidence")
    if event.kind == "results.doubted" and isinstance(evidence, dict) and evidence.get("reason"):
        why = f"results in doubt: {data.get('results')} ({data.get('reason')}): {evidence['reason']}"
    job = event.job_id or data.get("job_id")
    return SlotEvent(event.at, event.kind.rpartition(".")[2], why, data.get("by"), job, event.attempt_id)
