"""Which dispatcher leads: a SQL lease, so that any number may run and only one acts."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import delete, or_, select, update
from sqlalchemy.orm import Session

from orchestrator.errors import OrchestratorError
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Leader

ROLE = "dispatcher"


class LeadLost(OrchestratorError):
    """This process no longer leads: its term expired while it was paused, and another may lead now."""

    code = "lead_lost"


class Leadership:
    """The lead of one process, for `term` at a time."""

    def __init__(self, database: Database, holder: str, term: timedelta) -> None:
        self._database = database
        self._holder = holder
        self._term = term

    def acquire(self) -> bool:
        """Take the lead, or renew it, for another term; False while another process has it."""
        with self._database.write() as session:
            now = self._database.now(session)
            mine_or_free = or_(Leader.holder == self._holder, Leader.expires_at < now)
            change = update(Leader).where(Leader.role == ROLE, mine_or_free)
            taken = session.execute(
                change.values(holder=self._holder, expires_at=now + self._term).returning(Leader.role)
            ).first()
            return taken is not None or self._first(session, now)

    def _first(self, session: Session, now: datetime) -> bool:
        self._database.serialise(session, "leader")
        if session.get(Leader, ROLE) is not None:
            return False
        session.add(Leader(role=ROLE, holder=self._holder, expires_at=now + self._term))
        return True

    def fence(self, session: Session) -> None:
        """LeadLost unless this process leads; if it does, no other can until the caller's transaction ends."""
        mine = select(Leader.role).where(
            Leader.role == ROLE, Leader.holder == self._holder, Leader.expires_at > self._database.now(session)
        )
        if session.scalar(mine.with_for_update(read=True)) is None:
            raise LeadLost(f"{self._holder} is no longer the leader")

    def note_broker(self, finding: Mapping[str, Any]) -> None:
        """Keep what was found of the broker (`orchestrator.model.broker_findings`), if this process still leads."""
        with self._database.write() as session:
            mine = update(Leader).where(Leader.role == ROLE, Leader.holder == self._holder)
            session.execute(mine.values(broker=dict(finding)))

    def resign(self) -> None:
        """Let another process lead at once."""
        with self._database.write() as session:
            session.execute(delete(Leader).where(Leader.role == ROLE, Leader.holder == self._holder))
