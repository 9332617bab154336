"""What the leading dispatcher does on a timer: a table of chores, each with its name and how often, and what runs it.

Every repair is guarded in SQL by itself, so that a chore may be late, or be done twice.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy.exc import InterfaceError, OperationalError

from orchestrator.batches import lifecycle
from orchestrator.broker import Bell
from orchestrator.dispatcher import sweeps
from orchestrator.jobs import shares
from orchestrator.settings import Settings
from orchestrator.slots import hosts
from orchestrator.slots.canaries import Canaries
from orchestrator.storage.database import Database

log = logging.getLogger("tx81.dispatcher")

OFTEN = timedelta(seconds=1)
SELDOM = timedelta(seconds=10)

Clock = Callable[[], float]
"""Seconds that never go back."""


@dataclass(frozen=True)
class Chore:
    """One thing that is done every so often, in transactions of its own."""

    name: str
    """What it sees to, as the log says it."""
    every: timedelta
    do: Callable[[], int]
    """Does it; returns how many things there were to do."""


class Chores:
    """Runs each chore when it is due. One that fails is logged, and tried again when it is due again."""

    def __init__(self, chores: Sequence[Chore], clock: Clock = time.monotonic) -> None:
        self._chores = chores
        self._clock = clock
        self._done_at: dict[str, float] = {}

    def run(self) -> Mapping[str, Exception]:
        """Do what is due; returns the chores that have failed, each with its error."""
        failed: dict[str, Exception] = {}
        for chore in self._chores:
            began = self._clock()
            if began < self._done_at.get(chore.name, float("-inf")) + chore.every.total_seconds():
                continue
            self._done_at[chore.name] = began
            try:
                count = chore.do()
            # Whatever it is, a row that nobody foresaw or a database that went away: the others are still due.
            except Exception as trouble:
                away = isinstance(trouble, OperationalError | InterfaceError)
                again = chore.every.total_seconds()
                log.error("chore %s failed, tried again in %.0f s: %s", chore.name, again, trouble, exc_info=not away)
                failed[chore.name] = trouble
            else:
                if count:
                    log.info("chore %s: %d", chore.name, count)
        return failed


def table(
    settings: Settings, database: Database, canaries: Canaries, ring: Callable[[Sequence[Bell]], None]
) -> tuple[Chore, ...]:
    """The chores of a dispatcher, in the order in which they are done when several are due."""

    def ring_again() -> int:
        unheard = sweeps.ring_again(database, after=settings.ring_again)
        ring(unheard)
        return len(unheard)

    return (
        Chore(
            "expired leases",
            OFTEN,
            lambda: sweeps.end_expired_leases(database, max_attempts=settings.max_attempts),
        ),
        Chore("overdue jobs", OFTEN, lambda: sweeps.fail_overdue(database)),
        Chore("servers to stop", OFTEN, lambda: sweeps.stop_servers(database)),
        Chore("canaries", OFTEN, canaries.tend),
        Chore("reservations", OFTEN, lambda: sweeps.note_reservations(database)),
        Chore("hosts", OFTEN, lambda: hosts.note_presence(database, lost_after=settings.lease)),
        Chore("unsealed batches", SELDOM, lambda: lifecycle.give_up_stale(database)),
        Chore(
            "half-life of shares",
            OFTEN,
            lambda: shares.set_half_life(database, settings.share_half_life),
        ),
        Chore("unheard bells", OFTEN, ring_again),
    )
