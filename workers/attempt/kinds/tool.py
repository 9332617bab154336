"""A job that is one run of a tool; also the default for every kind of job."""

import sys
from contextlib import suppress
from typing import Protocol

from sqlalchemy.exc import SQLAlchemyError

from orchestrator.model.assignments import Assignment
from orchestrator.model.failures import Failure, Suspicion
from orchestrator.model.requirements import Answering
from orchestrator.model.suspects import counts
from orchestrator.slots.suspicion import after_failure
from workers.attempt import judge, release_here
from workers.attempt.collect import Results, collect
from workers.attempt.facts import Claimed, Concluded, Prepared, Ran
from workers.attempt.guard import CardGuard
from workers.attempt.launch import launch_of
from workers.processes.process import Outcome
from workers.toolchain import commands
from workers.toolchain.commands import Plan


class Start(Protocol):
    """The function with which a kind starts the tool."""

    def __call__(self, plan: Plan, *, may_be_silent: bool = False) -> Outcome:
        """Run the tool of a plan to its end; one that `may_be_silent` has no silence limit."""


class Tool:
    """One attempt of a job. The methods are called in this order, each at most once except `conclude`.

    An exception from a method ends the attempt: BadRequest as a bad spec, any other error as a fault.
    """

    def __init__(self, claimed: Claimed) -> None:
        self._claimed = claimed

    def prepare(self) -> Prepared:
        """Decide what is run, before a file is changed; BadSpec names what does not fit.

        `HostLacks` returns the job to the queue: this host does not have the release.
        """
        slot, work = self._claimed.slot, self._claimed.work
        assignment = self._complete(release_here.here(self._claimed.assignment, slot.settings))
        plan = commands.plan(assignment, work=work, golden_python=str(slot.settings.golden_python or sys.executable))
        return Prepared(plan, launch_of(plan, assignment, slot=slot, work=work))

    def _complete(self, assignment: Assignment) -> Assignment:
        """The assignment with what only its host can find."""
        return assignment

    def run(self, plan: Plan, start: Start, guard: CardGuard) -> Outcome:
        """Run the tool to its end; its cards are locked and proven free, and nothing runs yet.

        `guard` knows which cards the tool was seen to open."""
        return start(plan)

    def judge(self, ran: Ran) -> Failure | None:
        """Why the run failed; None if the tool reports success, which is still to be checked."""
        return judge.failure_of_run(ran.outcome, ran.evidence, ran.plan.fault_signatures, ran.clocks)

    def collect(self, ran: Ran) -> Results:
        """Find, check and store the outputs of a run that has not failed."""
        return collect(ran.plan, self._claimed.store, since_ns=ran.since_ns, seconds=ran.outcome.seconds)

    def accept(self, ran: Ran, results: Results) -> Failure | None:
        """Why a run with these results has failed; None if it is a success."""
        spec, seen = ran.plan.spec, (ran.outcome, ran.evidence, ran.plan.fault_signatures)
        require = spec.requirement if isinstance(spec, Answering) else None
        incomplete = judge.failure_of_results(results.problems, *seen)
        return incomplete or judge.failure_of_answers(results.answers, require, *seen)

    def suspect(self, failure: Failure) -> Suspicion | None:
        """Whether this failure, with earlier failures of other jobs, is evidence against the slot."""
        slot = self._claimed.slot
        if counts(self._claimed.assignment.spec["kind"], failure.kind):
            with suppress(SQLAlchemyError), slot.database.read() as session:
                now, half_life = slot.database.now(session), slot.settings.suspect_half_life
                return after_failure(session, self._claimed.id, now=now, half_life=half_life)
        return None

    def conclude(self, failure: Failure | None, suspicion: Suspicion | None) -> Concluded:
        """Perform the consequences of the end of the attempt, right before it is reported.

        Called again if the database did not accept the report; a repeated call changes nothing.
        """
        return Concluded(failure, suspicion)
