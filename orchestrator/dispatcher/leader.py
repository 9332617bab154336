"""Which dispatcher leads: a SQL lease, so that any number may run and one acts."""

from datetime import datetime, timedelta

from sqlalchemy import delete, or_, update
from sqlalchemy.orm import Session

from orchestrator.storage.database import Database
from orchestrator.storage.tables import Leader

ROLE = "dispatcher"
TERM = timedelta(seconds=10)
"""How long a dead leader is waited for. A leader that only paused does no harm: every arrow is guarded in SQL."""


class Leadership:
    """One process's claim to lead."""

    def __init__(self, database: Database, holder: str) -> None:
        self._database = database
        self._holder = holder

    def hold(self) -> bool:
        """Take or keep the lead for another term; False while another process has it."""
        with self._database.write() as session:
            now = self._database.now(session)
            mine_or_free = or_(Leader.holder == self._holder, Leader.expires_at < now)
            change = update(Leader).where(Leader.role == ROLE, mine_or_free)
            taken = session.execute(
                change.values(holder=self._holder, expires_at=now + TERM).returning(Leader.role)
            ).first()
            return taken is not None or self._first(session, now)

    def _first(self, session: Session, now: datetime) -> bool:
        self._database.serialise(session, "leader")
        if session.get(Leader, ROLE) is not None:
            return False
        session.add(Leader(role=ROLE, holder=self._holder, expires_at=now + TERM))
        return True

    def resign(self) -> None:
        """Let another process lead at once."""
        with self._database.write() as session:
            session.execute(delete(Leader).where(Leader.role == ROLE, Leader.holder == self._holder))
