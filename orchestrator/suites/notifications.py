"""What people are told: a change of a verdict, in the transaction in which it changes."""

from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from orchestrator.model.verdicts import Verdict
from orchestrator.storage import events


def announce(
    session: Session, subject: str, old: Verdict | None, new: Verdict, facts: dict[str, Any] | None, *, now: datetime
) -> None:
    """Record that the verdict of a subject (`suite:NAME`) has changed."""
    events.record(session, "suite.verdict", now, subject=subject, old=old, new=new, **(facts or {}))
