"""The dispatcher process: woken by every commit, at least once a second; acts only while it leads."""

import logging
import os
import secrets
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress

from celery import Celery
from kombu.exceptions import KombuError
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.broker import Bell, create_app, ring
from orchestrator.dispatcher.broker_watch import BrokerWatch
from orchestrator.dispatcher.chores import Chores, Clock, Doorbell, table
from orchestrator.dispatcher.leader import Leadership, LeadLost
from orchestrator.dispatcher.turn import take_turn
from orchestrator.settings import Settings, settings_of_service
from orchestrator.slots.canaries import Canaries
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.away import AWAY, in_one_line, why
from orchestrator.storage.database import CommitWatch, Database
from orchestrator.submission.submit import Submission
from orchestrator.suites.runs import SuiteRuns

log = logging.getLogger("tx81.dispatcher")

IDLE_SECONDS = 1.0
"""In case a wake-up is lost: a turn happens at least this often."""

APART_SECONDS = 0.02
"""Minimum time between the starts of two turns: slots that become free meanwhile are assigned together. Most commits of
a busy lab give a turn nothing to do, and each turn reads all slots."""


class Dispatcher:
    """Places jobs, sends doorbells and repairs until it receives a stop request."""

    def __init__(
        self,
        settings: Settings,
        database: Database | None = None,
        doorbell: Doorbell | None = None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._settings = settings
        self._database = database or Database(settings.database)
        self._store = ArtifactStore(settings.store)
        submission = Submission(settings, self._database, self._store)
        canaries = Canaries(settings, self._database, self._store, submission)
        self._celery: Celery = create_app(settings.broker_url)
        self._doorbell = doorbell or self._ring
        name = f"{settings.host}#{os.getpid()}-{secrets.token_hex(3)}"
        self._leadership = Leadership(self._database, name, settings.leader_term)
        self._broker_watch = BrokerWatch(
            self._celery, self._database, self._leadership, leads=lambda: self.leading, lost_after=settings.lease
        )
        suite_runs = SuiteRuns(settings, self._database, self._store)
        chores = table(settings, self._database, canaries, self._doorbell, suite_runs, self._leadership.fence)
        self._chores = Chores(chores, clock)
        self._stop = threading.Event()
        self.leading = False
        """Whether it was the leader at the last check; the turn checks again in its own transaction."""

    def stop(self, *_signal: object) -> None:
        """End after the present turn; safe in a signal handler."""
        self._stop.set()

    def run(self) -> None:
        """Run until `stop`; waits for a database that does not answer."""
        watch: CommitWatch | None = None
        next_renewal = 0.0
        self._broker_watch.start()
        try:
            while not self._stop.is_set():
                began = time.monotonic()
                try:
                    watch = watch or self._database.watch()
                    if began >= next_renewal:
                        next_renewal = began + self._settings.leader_term.total_seconds() / 3
                        self.lead()
                    self.turn()
                    self.sweep()
                except AWAY as trouble:
                    log.warning("the database does not answer; retrying: %s", why(trouble))
                    self._stop.wait(IDLE_SECONDS)
                except SQLAlchemyError as trouble:
                    log.error("the database refused a turn; retrying: %s", why(trouble))
                    self._stop.wait(IDLE_SECONDS)
                if watch is not None:
                    watch.wait(IDLE_SECONDS)
                self._stop.wait(max(0.0, began + APART_SECONDS - time.monotonic()))
        finally:
            self._broker_watch.stop()
            with suppress(SQLAlchemyError):  # if the lead cannot be released, the others wait until its term expires
                if self.leading:
                    self._leadership.resign()
            if watch is not None:
                watch.close()
            self._celery.close()
            self._database.close()

    def lead(self) -> None:
        """Take or renew the lead, if no other dispatcher has it."""
        self._note(self._leadership.acquire())

    def turn(self) -> None:
        """While leading: promote, place and send doorbells."""
        if not self.leading:
            return
        try:
            self._doorbell(
                take_turn(
                    self._database,
                    self._store,
                    lease=self._settings.lease,
                    lost_after=self._settings.lease,
                    aging=self._settings.aging,
                    leadership=self._leadership,
                )
            )
        except LeadLost:
            self._note(False)

    def sweep(self) -> Mapping[str, Exception]:
        """While leading: run the chores that are due; returns those that have failed, which are logged."""
        return self._chores.run() if self.leading else {}

    def _note(self, leading: bool) -> None:
        if leading != self.leading:
            log.info("leading" if leading else "another dispatcher leads")
        self.leading = leading

    def _ring(self, bells: Sequence[Bell]) -> bool:
        try:
            if bells:
                ring(self._celery, bells)
            return True
        except (KombuError, OSError) as trouble:
            # The chore sends all of them again.
            log.warning("the broker does not answer; doorbells will be sent again: %s", trouble)
            return False


def main() -> int:
    """Run a dispatcher until SIGTERM or SIGINT."""
    logging.basicConfig(
        level=logging.INFO, datefmt="%Y-%m-%d %H:%M:%S%z", format="%(asctime)s %(levelname)s %(name)s %(message)s"
    )
    logging.getLogger().handlers[0].addFilter(in_one_line)
    settings = settings_of_service()
    try:
        dispatcher = Dispatcher(settings)
    except OSError as trouble:
        print(f"TX81_STORE_DIR: {trouble.filename}: {trouble.strerror}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, dispatcher.stop)
    signal.signal(signal.SIGINT, dispatcher.stop)
    dispatcher.run()
    return 0
