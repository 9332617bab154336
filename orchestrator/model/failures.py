"""Why a job failed, and what follows from it: a fault of the infrastructure is not a failed job."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class FailureKind(StrEnum):
    """The one cause a failed job carries."""

    BAD_SPEC = "bad_spec"  #: What was asked for turned out not to fit when it was about to start.
    TOOL = "tool"  #: The vendor's tool ended with an error of its own.
    RUN_LIMIT = "run_limit"  #: It ran longer than its run limit.
    SILENCE = "silence"  #: It printed nothing for its silence limit.
    LOG_LIMIT = "log_limit"  #: It printed more than a log may hold.
    QUEUE_DEADLINE = "queue_deadline"  #: It was not placed in time.
    TOTAL_DEADLINE = "total_deadline"  #: It was not finished in time, all attempts together.
    OUTPUT_MISSING = "output_missing"  #: The tool said success, but what it must produce is not there.
    WRONG_CARDS = "wrong_cards"  #: Its tool opened cards that are not its own: the profile or the tool names others.
    SERVER_GONE = "server_gone"  #: The server that it asks has ended, or answers no more: no failure of its own.
    WRONG_ANSWERS = "wrong_answers"  #: The answers, which are kept, are not what the job requires of them.
    CANCELLED = "cancelled"  #: A person or a client asked for it to stop.
    STOPPED = "stopped"  #: Its worker was stopped, or lacks the release: counts against no one. Never a job's.
    DEVICE_KILLS = "device_kills"  #: Two different slots were quarantined while it ran: the job itself is suspect.
    FAULT = "fault"  #: The infrastructure's: a dead card, a lost worker, a full disk.


class Failure(BaseModel):
    """One cause, for a person and for a program."""

    model_config = ConfigDict(frozen=True)

    kind: FailureKind
    reason: str = Field(description="One line that a person understands without opening the log.")
    exit_code: int | None = None
    signal: int | None = None
    signature: str | None = Field(default=None, description="Name of the profile's pattern that matched.")


WITH_RESULTS = frozenset({FailureKind.WRONG_ANSWERS})
"""Failures of runs that measured something: their answers and metrics are stored as those of a success are."""


class Suspicion(BaseModel):
    """Why slots are suspected after an attempt on them."""

    model_config = ConfigDict(frozen=True)

    reason: str
    signature: str | None = Field(default=None, description="Name of the profile's pattern that matched.")
    blames_job: bool = Field(
        default=True, description="False if the slot was in this condition before the job started."
    )
    slots: tuple[str, ...] = Field(default=(), description="The slots it is about; empty: all slots of the attempt.")
    evidence: dict[str, Any] | None = Field(
        default=None, description="What a probe saw of the cards, or the attempts that failed on this slot alone."
    )


def of_one_among(reason: str, slots: Collection[str]) -> str:
    """The reason as shown for each of `slots`, when it applies to one of them, unknown which."""
    return reason if len(slots) < 2 else f"{reason} (on one of {', '.join(sorted(slots))}; unknown which)"


MOST_DEVICE_KILLS = 2
"""So many different slots in quarantine are no chance: a job is not given another one to break."""


@dataclass(frozen=True)
class Retry:
    """Queue the job again, after a pause."""

    why: str
    pause: timedelta = timedelta(0)


@dataclass(frozen=True)
class Await:
    """Queue the job again as soon as the servers that it asks are there again."""

    why: str


@dataclass(frozen=True)
class GiveUp:
    """The failure is final."""

    why: str


def next_step(
    failure: Failure, *, faults: int, tool_failures: int, max_attempts: int, tool_retries: int
) -> Retry | GiveUp:
    """Whether a job goes back to the queue after an attempt ended in `failure`.

    `faults` and `tool_failures` count this job's ended attempts of each sort, this one included. A fault is
    retried until `max_attempts` faults; a tool's own failure only `tool_retries` times, which a spec has to ask for.
    """
    match failure.kind:
        case FailureKind.FAULT if faults < max_attempts:
            return Retry(f"infrastructure fault {faults} of at most {max_attempts}: {failure.reason}")
        case FailureKind.FAULT:
            return GiveUp(f"{faults} infrastructure faults: {failure.reason}")
        case FailureKind.TOOL if tool_failures <= tool_retries:
            return Retry(f"tool failure {tool_failures}, {tool_retries} retries asked for: {failure.reason}")
        case _:
            return GiveUp(failure.reason)


LONGEST_PAUSE = timedelta(days=1)


def pause_after(first: timedelta, faults: int) -> timedelta:
    """The pause before the next attempt: doubled with every fault of the job after its first."""
    return min(first * 2 ** min(faults - 1, 30), LONGEST_PAUSE) if faults > 0 else timedelta(0)


def device_kills(last: Failure, slots: Collection[str]) -> Failure | None:
    """The failure of a job whose attempts put `slots` into quarantine; None if those are too few to blame the job."""
    if len(slots) < MOST_DEVICE_KILLS:
        return None
    reason = f"{' and '.join(sorted(slots))} were quarantined while it ran, so it is not retried: {last.reason}"
    return last.model_copy(update={"kind": FailureKind.DEVICE_KILLS, "reason": reason})
