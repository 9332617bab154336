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


Doorbell = Callable[[Sequence[Bell]], bool]
"""Wakes workers; False if the broker has not taken the bells. One that it has taken may be lost all the same."""

UNHEARD_BELLS = 2
"""So many bells for one attempt that the broker has taken and nobody has heard are no chance: the worker is deaf."""


class UnheardBells:
    """Rings again for what nobody has claimed, and takes out the slot of a worker that beats but does not hear.

    Bells that the broker did not take count for nothing, so that no worker is blamed for a broker that is away. What
    was rung is known to this process alone: another dispatcher that leads begins anew."""

    def __init__(self, database: Database, ring: Doorbell, *, after: timedelta, lost_after: timedelta) -> None:
        self._database = database
        self._ring = ring
        self._after = after
        self._lost_after = lost_after
        self._unheard: dict[int, int] = {}

    def ring_again(self) -> int:
        """Ring for each attempt that was not claimed in time; returns how many, and how many slots were taken out."""
        waiting = sweeps.unclaimed(self._database) if self._unheard else []
        self._unheard = {number: bells for number, bells in self._unheard.items() if number in waiting}
        bells = sweeps.ring_again(self._database, after=self._after)
        in_vain = [bell.attempt_id for bell in bells if self._unheard.get(bell.attempt_id, 0) >= UNHEARD_BELLS]
        deaf = sweeps.note_deaf(self._database, in_vain, lost_after=self._lost_after)
        if bells and self._ring(bells):
            self._unheard |= {bell.attempt_id: self._unheard.get(bell.attempt_id, 0) + 1 for bell in bells}
        return len(bells) + deaf


def table(settings: Settings, database: Database, canaries: Canaries, ring: Doorbell) -> tuple[Chore, ...]:
    """The chores of a dispatcher, in the order in which they are done when several are due."""
    bells = UnheardBells(database, ring, after=settings.ring_again, lost_after=settings.lease)
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
        Chore("unheard bells", OFTEN, bells.ring_again),
    )
