"""The state machine, as data: states with their promises, and every transition between them."""

from collections import Counter
from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

State = TypeVar("State", bound=StrEnum)


class JobState(StrEnum):
    """The state of a job; only `orchestrator.jobs.lifecycle` moves one."""

    WAITING = "waiting"  #: Needs another job's result or endpoint, or an identical build that is already in progress.
    QUEUED = "queued"  #: All inputs are known; it may be placed in the next turn of the dispatcher.
    ASSIGNED = "assigned"  #: Its current attempt holds leases on slots; doorbells are sent until it is claimed.
    RUNNING = "running"  #: One worker holds its lease and renews it; a lease that runs out moves the job on.
    SUCCEEDED = "succeeded"  #: Outputs were checked and stored (or an identical job's taken); a server was stopped.
    FAILED = "failed"  #: It carries exactly one failure, with its kind and a reason a person understands.
    CANCELLED = "cancelled"  #: Someone asked for it to stop, and nothing of it runs any more.
    SKIPPED = "skipped"  #: It never ran: something it needed did not succeed, or its batch was stopped.


class AttemptState(StrEnum):
    """The state of one attempt."""

    ASSIGNED = "assigned"  #: Slots are leased to it; no worker has claimed it yet.
    RUNNING = "running"  #: Claimed by one worker, which must renew its lease to keep it.
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    LOST = "lost"  #: Its worker stopped renewing, or never came: it may write nothing any more.


class ServiceState(StrEnum):
    """Whether jobs may be placed on a slot, independent of its worker and occupancy."""

    IN_SERVICE = "in_service"
    DRAINING = "draining"  #: Finishes what it runs and takes no more.
    DRAINED = "drained"  #: Idle, and stays so until a person resumes it.
    QUARANTINED = "quarantined"  #: Suspect: only a canary may run.


class Until(StrEnum):
    """How far another job has to be before one that needs it may start."""

    SUCCEEDED = "succeeded"  #: It has ended well, and what it made is stored.
    READY = (
        "ready"  #: It serves: its endpoint is open. One that ends before was never ready for the jobs that still wait.
    )


TRANSITIONS: Mapping[JobState, frozenset[JobState]] = {
    JobState.WAITING: frozenset(
        {JobState.QUEUED, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.SKIPPED}
    ),
    JobState.QUEUED: frozenset(
        {
            JobState.WAITING,
            JobState.ASSIGNED,
            JobState.RUNNING,
            JobState.FAILED,
            JobState.CANCELLED,
            JobState.SKIPPED,
        }
    ),
    JobState.ASSIGNED: frozenset({JobState.RUNNING, JobState.QUEUED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.QUEUED, JobState.WAITING}
    ),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
    JobState.SKIPPED: frozenset(),
}
"""Every transition of a job. A job is created `waiting`; its needs decide its next state at once."""

ATTEMPT_TRANSITIONS: Mapping[AttemptState, frozenset[AttemptState]] = {
    AttemptState.ASSIGNED: frozenset({AttemptState.RUNNING, AttemptState.CANCELLED, AttemptState.LOST}),
    AttemptState.RUNNING: frozenset(
        {AttemptState.SUCCEEDED, AttemptState.FAILED, AttemptState.CANCELLED, AttemptState.LOST}
    ),
    AttemptState.SUCCEEDED: frozenset(),
    AttemptState.FAILED: frozenset(),
    AttemptState.CANCELLED: frozenset(),
    AttemptState.LOST: frozenset(),
}

FINAL = frozenset(state for state, arrows in TRANSITIONS.items() if not arrows)
"""States without a transition to another state."""

IN_FLIGHT = frozenset({JobState.QUEUED, JobState.ASSIGNED, JobState.RUNNING})
"""States in which an identical build is worth joining instead of starting again."""


def diagram(arrows: Mapping[State, frozenset[State]]) -> str:
    """The state machine in Mermaid, as the documentation shows it; a test compares the two."""
    lines = ["stateDiagram-v2", f"    [*] --> {next(iter(arrows))}"]
    for start, ends in arrows.items():
        lines += [f"    {start} --> {end}" for end in sorted(ends, key=list(arrows).index)]
    lines += [f"    {state} --> [*]" for state, ends in arrows.items() if not ends]
    return "\n".join(lines) + "\n"


def rolled_up(counts: Counter[JobState]) -> JobState:
    """The state of many jobs as one: running once any has begun, and the worst ending once all have ended."""
    present = {state for state, count in counts.items() if count}
    if present <= FINAL:
        worst = (JobState.FAILED, JobState.CANCELLED, JobState.SKIPPED)
        return next((state for state in worst if state in present), JobState.SUCCEEDED)
    if present & (FINAL | {JobState.ASSIGNED, JobState.RUNNING}):
        return JobState.RUNNING
    return JobState.QUEUED if JobState.QUEUED in present else JobState.WAITING
