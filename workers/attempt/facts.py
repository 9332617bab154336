"""The data that the steps of an attempt share, as values: each is created by one step, and later steps only read it."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestrator.jobs.lifecycle import Started
from orchestrator.model.assignments import Assignment
from orchestrator.model.failures import Failure, Suspicion
from orchestrator.model.telemetry import Limit, Measure
from orchestrator.storage.artifacts import ArtifactStore
from workers.attempt.collect import Output, Results
from workers.attempt.guard import CardGuard
from workers.attempt.judge import Clocks, Evidence
from workers.attempt.launch import Launch
from workers.processes.process import Outcome, StopReason, StopSignal
from workers.slot import OwnedSlot
from workers.toolchain.commands import Plan


@dataclass(frozen=True)
class Taken:
    """An attempt that belongs to this worker."""

    assignment: Assignment
    leased_at: float
    """Its lease began no earlier, by the monotonic clock."""


@dataclass(frozen=True)
class Claimed:
    """Created by the claim: an attempt that belongs to this worker, and its folders."""

    assignment: Assignment
    slot: OwnedSlot
    store: ArtifactStore
    stop: StopSignal
    began: float
    """When it was claimed, by the monotonic clock."""
    takes_next: Callable[[], bool] = lambda: False
    """Whether its end may start the next job in line on this slot."""

    @property
    def id(self) -> int:
        """The id of the attempt."""
        return self.assignment.attempt_id

    @cached_property
    def work(self) -> Path:
        """Its working folder, which is removed when it has ended."""
        return self.slot.work / self.assignment.label

    @cached_property
    def log(self) -> Path:
        """The file with the output of its tool."""
        return self.work / "log"

    @cached_property
    def owner(self) -> str:
        """The owner of a lock, as written for the next process that finds it locked."""
        return f"job {self.assignment.job_id} on {self.slot.id} (pid {os.getpid()})"

    @property
    def run_seconds_left(self) -> float:
        """How long its tool may still run: until the run limit, or until the job's total deadline if that is
        earlier."""
        return max(0.0, min(self.assignment.run_seconds, self._deadline - time.monotonic()))

    def clocks(self) -> Clocks:
        """The limits under which it ran, computed when its tool has ended."""
        assignment, total_first = self.assignment, time.monotonic() >= self._deadline
        return Clocks(assignment.run_seconds, assignment.silence_seconds, assignment.log_bytes, total_first=total_first)

    @property
    def _deadline(self) -> float:
        return self.began + self.assignment.seconds_left


@dataclass(frozen=True)
class Prepared:
    """Created by the kind of job before a file is changed: what to run, and where."""

    plan: Plan
    launch: Launch
    may_miss_cards: bool = False
    """Missing cards are allowed, only cards opened by other processes are a problem."""


@dataclass(frozen=True)
class Ran:
    """Created by the run: how the tool ended, and the evidence that it left."""

    plan: Plan
    outcome: Outcome
    since_ns: int
    """Files with a time from this one on belong to the attempt."""
    clocks: Clocks
    evidence: Evidence
    logs: Mapping[str, Sequence[Path]]
    """Logs in addition to the attempt's log, by artifact name."""

    @property
    def interrupted(self) -> bool:
        """It was ended for a reason unrelated to the job: there is nothing to judge and nothing to store."""
        return self.outcome.stopped in (StopReason.LEASE_LOST, StopReason.SHUTDOWN)

    @property
    def cancelled(self) -> bool:
        """A person or a client stopped it."""
        return self.outcome.stopped is StopReason.CANCELLED

    @property
    def is_unread(self) -> bool:
        """It may have written answers, and the profile says that they are not read."""
        return self.plan.kind.answers == "none"


@dataclass(frozen=True)
class Findings:
    """The results of the steps so far. If a step raises, its results and those of the steps before it are here."""

    plan: Plan | None = None
    """As it was last started; before the first start, as it was prepared."""
    guard: CardGuard | None = None
    outcome: Outcome | None = None
    started: Started | None = None
    """A process that ended before its start was recorded."""
    failure: Failure | None = None
    suspicion: Suspicion | None = None
    results: Results = field(default_factory=Results)
    telemetry: dict[str, Any] | None = None
    """What the cards measured while the tool ran."""
    limits: Mapping[Measure, Limit] = field(default_factory=dict)
    """Beyond which its results are doubtful."""


@dataclass(frozen=True)
class Concluded:
    """Created last by the kind of job: the end of the attempt as it is reported."""

    failure: Failure | None
    suspicion: Suspicion | None
    outputs: tuple[Output, ...] = ()
    """Stored in addition to the collected ones."""
