"""What the leading dispatcher does on a timer: a table of chores with their intervals, and the class that runs them.

Every repair has its own guard in SQL, so that a chore may run late, or twice.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from orchestrator.batches import lifecycle
from orchestrator.broker import Bell
from orchestrator.dispatcher import sweeps
from orchestrator.dispatcher.leader import LeadLost
from orchestrator.jobs import shares
from orchestrator.settings import Settings
from orchestrator.slots import hosts
from orchestrator.slots.canaries import Canaries
from orchestrator.storage.away import cannot_be_used, why
from orchestrator.storage.database import Database
from orchestrator.suites import cases
from orchestrator.suites.doubtful_runs import RunsInDoubt
from orchestrator.suites.judging import Judge, note_missing
from orchestrator.suites.runs import SuiteRuns
from orchestrator.suites.schedules import Fence, Scheduler
from orchestrator.suites.sending import MessageSender

log = logging.getLogger("tx81.dispatcher")

OFTEN = timedelta(seconds=1)
SELDOM = timedelta(seconds=10)
RARELY = timedelta(hours=1)

Clock = Callable[[], float]
"""Monotonic seconds."""


@dataclass(frozen=True)
class Chore:
    """A task that runs at an interval, in its own transactions."""

    name: str
    """Its subject, as written in the log."""
    every: timedelta
    do: Callable[[], int]
    """Runs it; returns the number of items processed."""


class Chores:
    """Runs each chore when it is due. One that fails is logged, and tried again when it is due again."""

    def __init__(self, chores: Sequence[Chore], clock: Clock = time.monotonic) -> None:
        self._chores = chores
        self._clock = clock
        self._done_at: dict[str, float] = {}

    def run(self) -> Mapping[str, Exception]:
        """Run the chores that are due; returns those that have failed, each with its error."""
        failed: dict[str, Exception] = {}
        for chore in self._chores:
            began = self._clock()
            if began < self._done_at.get(chore.name, float("-inf")) + chore.every.total_seconds():
                continue
            self._done_at[chore.name] = began
            try:
                count = chore.do()
            # Any error, such as an unexpected row or a database that stopped answering: the other chores still run.
            except Exception as trouble:
                away = cannot_be_used(trouble)
                again = chore.every.total_seconds()
                reason = why(trouble) if away else trouble
                log.error("chore %s failed, tried again in %.0f s: %s", chore.name, again, reason, exc_info=not away)
                failed[chore.name] = trouble
            else:
                if count:
                    log.info("chore %s: %d", chore.name, count)
        return failed


Doorbell = Callable[[Sequence[Bell]], bool]
"""Sends doorbells to workers; False if the broker has not accepted them. An accepted doorbell may still be lost."""

UNHEARD_BELLS = 2
"""After this number of doorbells for one attempt that the broker accepted without effect, its worker counts as deaf."""


class UnheardBells:
    """Sends doorbells again for unclaimed attempts, and disables the slot of a worker that sends heartbeats but does
    not receive doorbells.

    Doorbells that the broker did not accept do not count, so that no worker is blamed for a broker that does not
    answer. The counts are in this process only: another dispatcher that leads starts counting from 0."""

    def __init__(self, database: Database, ring: Doorbell, *, after: timedelta, lost_after: timedelta) -> None:
        self._database = database
        self._ring = ring
        self._after = after
        self._lost_after = lost_after
        self._unheard: dict[int, int] = {}

    def ring_again(self) -> int:
        """Send a doorbell for each attempt that was not claimed in time; returns their number and that of the disabled
        slots."""
        waiting = sweeps.unclaimed(self._database) if self._unheard else []
        self._unheard = {number: bells for number, bells in self._unheard.items() if number in waiting}
        bells = sweeps.ring_again(self._database, after=self._after)
        in_vain = [bell.attempt_id for bell in bells if self._unheard.get(bell.attempt_id, 0) >= UNHEARD_BELLS]
        deaf = sweeps.note_deaf(self._database, in_vain, lost_after=self._lost_after)
        if bells and self._ring(bells):
            self._unheard |= {bell.attempt_id: self._unheard.get(bell.attempt_id, 0) + 1 for bell in bells}
        return len(bells) + deaf


def table(
    settings: Settings, database: Database, canaries: Canaries, ring: Doorbell, suite_runs: SuiteRuns, fence: Fence
) -> tuple[Chore, ...]:
    """The chores of a dispatcher, in the order in which they run when several are due."""
    bells = UnheardBells(database, ring, after=settings.ring_again, lost_after=settings.lease)
    scheduler, judge = Scheduler(database, suite_runs, fence), Judge(database, suite_runs)
    again = RunsInDoubt(database, suite_runs)
    sender = MessageSender(database, settings)
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
        Chore("cases", SELDOM, lambda: cases.tend(database)),
        Chore("unsealed batches", SELDOM, lambda: lifecycle.give_up_stale(database)),
        Chore(
            "half-life of shares",
            OFTEN,
            lambda: shares.set_half_life(database, settings.share_half_life),
        ),
        Chore("unanswered doorbells", OFTEN, bells.ring_again),
        Chore("schedules", OFTEN, lambda: _while_leading(scheduler.tend)),
        Chore("suites", OFTEN, judge.tend),
        Chore("runs in doubt", SELDOM, again.tend),
        Chore("suites that were not judged", SELDOM, lambda: note_missing(database)),
        Chore("notifications", OFTEN, sender.tend),
        Chore("old notifications", RARELY, sender.forget_old),
    )


def _while_leading(do: Callable[[], int]) -> int:
    """Do it; nothing if the lead was lost meanwhile: the other dispatcher does it."""
    try:
        return do()
    except LeadLost:
        return 0
