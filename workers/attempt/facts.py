"""What the steps of an attempt know, as values: each is made by one step, and later steps only read it."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from orchestrator.jobs.assignments import Assignment
from orchestrator.jobs.lifecycle import Started
from orchestrator.model.failures import Failure, Suspicion
from orchestrator.storage.artifacts import ArtifactStore
from workers.attempt.collect import Output, Results
from workers.attempt.guard import CardGuard
from workers.attempt.judge import Clocks, Evidence
from workers.attempt.launch import Launch
from workers.processes.process import Outcome, StopReason, StopSignal
from workers.slot import OwnedSlot
from workers.toolchain.commands import Plan


@dataclass(frozen=True)
class Claimed:
    """Made by the claim: an attempt that is this worker's, and where it works."""

    assignment: Assignment
    slot: OwnedSlot
    store: ArtifactStore
    stop: StopSignal
    began: float
    """When it was claimed, by the monotonic clock."""

    @property
    def id(self) -> int:
        """Of the attempt."""
        return self.assignment.attempt_id

    @property
    def work(self) -> Path:
        """Its working folder, which is removed when it has ended."""
        return self.slot.work / self.assignment.label

    @property
    def log(self) -> Path:
        """What its tool prints."""
        return self.work / "log"

    @property
    def owner(self) -> str:
        """Who holds a lock, as the next one reads it."""
        return f"job {self.assignment.job_id} on {self.slot.id} (pid {os.getpid()})"

    @property
    def run_seconds_left(self) -> float:
        """How long its tool may still run: to the run limit, or to the job's total deadline if that is sooner."""
        return max(0.0, min(self.assignment.run_seconds, self._deadline - time.monotonic()))

    def clocks(self) -> Clocks:
        """The limits it ran under, asked for when its tool has ended."""
        assignment, total_first = self.assignment, time.monotonic() >= self._deadline
        return Clocks(assignment.run_seconds, assignment.silence_seconds, assignment.log_bytes, total_first=total_first)

    @property
    def _deadline(self) -> float:
        return self.began + self.assignment.seconds_left


@dataclass(frozen=True)
class Prepared:
    """Made by the kind of job before a file is touched: what is to be run, and where."""

    plan: Plan
    launch: Launch
    may_miss_cards: bool = False
    """Cards that are not there are no trouble, only cards that somebody holds are."""


@dataclass(frozen=True)
class Ran:
    """Made by the run: how the tool ended, and what it left to judge it by."""

    plan: Plan
    outcome: Outcome
    since_ns: int
    """The file time from which on a file is the attempt's own."""
    clocks: Clocks
    evidence: Evidence
    logs: Mapping[str, Sequence[Path]]
    """What was logged beside the attempt's log, by what it is kept as."""

    @property
    def interrupted(self) -> bool:
        """It was ended for a reason that is none of the job's: there is nothing to judge and nothing to keep."""
        return self.outcome.stopped in (StopReason.LEASE_LOST, StopReason.SHUTDOWN)


@dataclass(frozen=True)
class Findings:
    """What the steps have found out so far. A step that breaks leaves here what it and those before it knew."""

    plan: Plan | None = None
    """As it was started last, or before that as it was prepared."""
    guard: CardGuard | None = None
    outcome: Outcome | None = None
    started: Started | None = None
    """What ended so soon that its start was not noted."""
    failure: Failure | None = None
    suspicion: Suspicion | None = None
    results: Results = field(default_factory=Results)


@dataclass(frozen=True)
class Concluded:
    """Made by the kind of job last of all: the end of the attempt as it is reported."""

    failure: Failure | None
    suspicion: Suspicion | None
    outputs: tuple[Output, ...] = ()
    """Kept beside those that were collected."""
