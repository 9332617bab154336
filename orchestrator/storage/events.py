"""Events: what happened, each written in the transaction that made it happen."""

from datetime import datetime
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from orchestrator.storage import outbox
from orchestrator.storage.database import run
from orchestrator.storage.tables import Base

RECORD = insert(Base.metadata.tables["event"])
"""One row or many; on a plain table, which takes a fraction of the time."""


def record(session: Session, kind: str, now: datetime, **about: Any) -> None:
    """Write one event; `job_id`, `attempt_id` and `slot_id` are columns, all else goes into its data.

    Targets get a message about it if it changes their state (`outbox`)."""
    columns = {name: about.pop(name, None) for name in ("job_id", "attempt_id", "slot_id")}
    run(session, RECORD, at=now, kind=kind, data=about, **columns)
    outbox.note_event(session, kind, now, columns, about)
