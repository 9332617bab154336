"""What follows from the canaries that ran on a quarantined slot: another one, back into service, or a person. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.model.failures import FailureKind
from orchestrator.model.states import FINAL, JobState
from orchestrator.model.suspects import COUNTED

CONDEMNING = COUNTED | {FailureKind.LOG_LIMIT}
"""Failures of a canary that count against the cards; one that was cancelled or not placed in time says nothing."""


@dataclass(frozen=True)
class CanaryRun:
    """One canary job on the slot since it was quarantined."""

    job_id: int
    state: JobState
    failure: FailureKind | None
    ended_at: datetime | None


@dataclass(frozen=True)
class Restore:
    """The last canary passed: the slot takes work again."""

    job_id: int


@dataclass(frozen=True)
class LeaveQuarantined:
    """Too many failed one after the other: a person has to look."""

    jobs: tuple[int, ...]
    strayed: bool = False
    """They were on other cards (`wrong_cards`): the profile or the tool is at fault, and these cards are unproven."""


@dataclass(frozen=True)
class Start:
    """It is time for another canary."""


@dataclass(frozen=True)
class Wait:
    """A canary is running, or the next is due later."""

    until: datetime | None


def decide(
    runs: Sequence[CanaryRun],
    *,
    quarantined_at: datetime,
    now: datetime,
    pauses: Sequence[timedelta],
    most_failures: int,
) -> Restore | LeaveQuarantined | Start | Wait:
    """What to do about a slot whose canaries since `quarantined_at` are `runs`, oldest first.

    The pause before a canary grows with the number of those before it; the last of `pauses` holds for all others."""
    if any(run.state not in FINAL for run in runs):
        return Wait(None)
    if runs and runs[-1].state is JobState.SUCCEEDED:
        return Restore(runs[-1].job_id)
    failed = tuple(run.job_id for run in runs if run.failure in CONDEMNING)
    if len(failed) >= most_failures:
        return LeaveQuarantined(failed)
    strayed = tuple(run.job_id for run in runs if run.failure is FailureKind.WRONG_CARDS)
    if len(strayed) >= most_failures:
        # Another one would stray as well: they are the same tool with the same arguments.
        return LeaveQuarantined(strayed, strayed=True)
    since = runs[-1].ended_at if runs and runs[-1].ended_at is not None else quarantined_at
    due = since + pauses[min(len(runs), len(pauses) - 1)]
    return Start() if now >= due else Wait(due)
