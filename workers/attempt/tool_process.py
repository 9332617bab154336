"""The vendor process of one attempt: started with the attempt's limits; its start is recorded in SQL."""

import logging
import signal
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy.exc import SQLAlchemyError

from orchestrator.errors import OwnershipLost
from orchestrator.jobs import lifecycle
from orchestrator.jobs.lifecycle import Started
from workers.attempt.facts import Claimed
from workers.attempt.launch import Launch
from workers.attempt.log_shipping import LogShipper
from workers.processes import process
from workers.processes.confinement import hand_over, take_back
from workers.processes.process import Command, KillStep, Limits, Outcome, StopReason
from workers.toolchain.commands import Plan

log = logging.getLogger(__name__)

_BRIEF = timedelta(seconds=0.2)
"""For a tool that ends within this time, start and end are recorded together: one transaction less."""


class ToolProcess:
    """Starts the tool, once or, if the kind of job needs that, several times one after the other."""

    def __init__(self, claimed: Claimed, launch: Launch, *, descriptors: Sequence[int], shipper: LogShipper) -> None:
        """`descriptors` are those of the locks, which the process inherits."""
        self._claimed = claimed
        self._launch = launch
        self._descriptors = descriptors
        self._shipper = shipper
        self._noted = False
        self.plan: Plan | None = None
        """As it was last started."""

    def start(self, plan: Plan, *, may_be_silent: bool = False) -> Outcome:
        """Run it to its end, or until it is stopped; one that `may_be_silent` has no silence limit."""
        claimed, self.plan = self._claimed, plan
        confinement = self._launch.confinement(plan)
        command = replace(plan.command, confinement=confinement)
        user = None if confinement is None else confinement.user
        if user is not None:
            hand_over(claimed.work, user)
        try:
            return self._run(command, plan, may_be_silent=may_be_silent)
        finally:
            if user is not None:
                take_back(claimed.work, user)

    def _run(self, command: Command, plan: Plan, *, may_be_silent: bool) -> Outcome:
        claimed = self._claimed
        return process.run(
            self._launch.started(command),
            log=claimed.log,
            limits=Limits(
                run=timedelta(seconds=claimed.run_seconds_left),
                silence=None if may_be_silent else timedelta(seconds=claimed.assignment.silence_seconds),
                log_bytes=claimed.assignment.log_bytes,
            ),
            ladder=[
                KillStep(signal.Signals[step.signal], timedelta(seconds=step.grace_seconds))
                for step in plan.profile.ladder_of(plan.kind)
            ],
            keep_fds=self._descriptors,
            stop=claimed.stop,
            shim=claimed.slot.shim,
            on_started=lambda pid: self._note(Started(pid, plan.document)),
            settle=_BRIEF,
            on_growth=self._shipper.grown,
        )

    def not_noted(self, outcome: Outcome) -> Started | None:
        """What was started, if that is not recorded yet."""
        return Started(outcome.pid, self.plan.document) if self.plan and outcome.pid and not self._noted else None

    def _note(self, started: Started) -> None:
        claimed, database = self._claimed, self._claimed.slot.database
        try:
            with database.write() as session:
                now = database.now(session)
                lifecycle.note_start(session, claimed.id, started, owner=claimed.slot.owner, now=now)
            self._noted = True
        except OwnershipLost:
            claimed.stop.request(StopReason.LEASE_LOST, within=timedelta(0))
        except SQLAlchemyError:
            # No reason to stop a running tool; the heartbeat handles a database that does not answer.
            log.warning("start not recorded", exc_info=True, extra={"attempt": claimed.id})
