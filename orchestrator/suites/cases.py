"""What follows for cases from a cell that was judged."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from orchestrator.model.suites import ALARMS, CellOutcome
from orchestrator.storage import events


def note_outcome(
    session: Session, run_id: int, cell: str, outcome: CellOutcome, *, comparison: dict[str, Any] | None, now: datetime
) -> None:
    """Record an alarm and what it turned out to be; `comparison` is the cell's entry in the report of the run."""
    if outcome in ALARMS:
        events.record(session, "suite.alarm", now, run=run_id, cell=cell, outcome=outcome)
