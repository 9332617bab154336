"""The sessions of the dashboard, looked up at each request of Flower: signing out counts at once."""

import logging
from functools import cached_property

from sqlalchemy.exc import SQLAlchemyError

from orchestrator import sign_ins
from orchestrator.errors import Unauthenticated
from orchestrator.settings import Settings
from orchestrator.storage.database import Database

log = logging.getLogger(__name__)


class Sessions:
    """Looks sessions up; the database is opened when the first browser comes with one."""

    def __init__(self, settings: Settings) -> None:
        self._url = settings.database

    @cached_property
    def _database(self) -> Database:
        return Database(self._url)

    def scopes_of(self, secret: str) -> tuple[str, ...]:
        """What the session may do; nothing if it has ended, or while the database cannot be asked."""
        try:
            with self._database.read() as session:
                return sign_ins.bearer_of(session, secret, self._database.now(session)).scopes
        except Unauthenticated:
            return ()
        except (SQLAlchemyError, OSError) as trouble:
            log.warning("the session of a browser could not be looked up: %s", trouble)
            return ()
