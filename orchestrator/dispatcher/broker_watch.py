"""Looks at the broker from time to time, also while there is nothing to ring, and keeps what it finds in SQL.

While nothing is placed nobody needs the broker: one that has died, or is used by others, would only be noticed by the
first job.
"""

import logging
import threading
from collections.abc import Callable
from datetime import timedelta

from celery import Celery
from kombu.exceptions import KombuError
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.broker import answering
from orchestrator.dispatcher.leader import Leadership
from orchestrator.model.broker_findings import BrokerFinding, finding
from orchestrator.slots import queries
from orchestrator.storage.away import why
from orchestrator.storage.database import Database

log = logging.getLogger("tx81.dispatcher")

EVERY_SECONDS = 15.0
"""Between two looks; each wakes every worker once."""
_ANSWER_SECONDS = 2.0
_ASK_AGAIN = 1.0
"""Seconds until a process that does not lead looks whether it does."""


class BrokerWatch:
    """A thread of the dispatcher, which must not wait for answers itself."""

    def __init__(
        self,
        app: Celery,
        database: Database,
        leadership: Leadership,
        *,
        leads: Callable[[], bool],
        lost_after: timedelta,
    ) -> None:
        self._app = app
        self._database = database
        self._leadership = leadership
        self._leads = leads
        self._lost_after = lost_after
        self._silent: frozenset[str] = frozenset()
        self._told: BrokerFinding | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broker-watch", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present look."""
        self._stop.set()

    def look(self) -> BrokerFinding:
        """Look once, and store what is new."""
        found = self._found()
        if found != self._told:
            self._leadership.note_broker(found.document())
            if trouble := found.sentence():
                log.warning("broker: %s", trouble)
            elif self._told is not None:
                log.info("broker: it answers, and so do the workers of this installation alone")
            self._told = found
        return found

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._leads():
                self._told = None  # the dispatcher that leads meanwhile stores what it finds
                self._stop.wait(_ASK_AGAIN)
                continue
            try:
                self.look()
            except SQLAlchemyError as trouble:
                log.warning("broker not looked at: the database does not answer: %s", why(trouble))
            except Exception:
                if not self._stop.is_set():  # else what it uses is being closed
                    log.exception("broker not looked at")
            self._stop.wait(EVERY_SECONDS)

    def _found(self) -> BrokerFinding:
        try:
            answers = answering(self._app, seconds=_ANSWER_SECONDS)
        except (KombuError, OSError) as trouble:
            self._silent = frozenset()
            return BrokerFinding(error=" ".join(str(trouble).split()))
        with self._database.read() as session:
            now = self._database.now(session)
            slots, alive = queries.workers_by_node(session, now, self._lost_after)
        found, self._silent = finding(answers, slots=slots, alive=alive, silent_before=self._silent)
        return found
