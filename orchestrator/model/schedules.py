"""When a schedule is due, and what follows from due times that were missed or that find the suite still running. Pure.

A due time is a moment in UTC. Lines of cron are read in a named time zone as Debian's cron reads them: a fixed time
that clocks skip is due when they have been set forward, and one that they show twice is due once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from cronsim import CronSim
from pydantic import AfterValidator, Field, StringConstraints, model_validator

from orchestrator.model.spec_words import LONGEST_SECONDS, Name, Strict

ON_TIME = timedelta(minutes=2)
"""A due time that is older than this when the dispatcher finds it was missed."""

MOST_AT_ONCE = 100
"""Due times that are made up for; older ones are given up."""

_FIELDS = 5


class Missed(StrEnum):
    """What becomes of due times at which no dispatcher ran."""

    RUN_LATEST = "run_latest"  #: One run for all of them.
    RUN_ALL = "run_all"  #: A run for each.
    SKIP = "skip"


class Overlap(StrEnum):
    """What becomes of a due time while a run of the suite has not ended."""

    SKIP = "skip"
    QUEUE = "queue"  #: It waits for the end; at most one waits, with `run_all` all of them.
    CANCEL_OLD = "cancel_old"  #: The run is cancelled.


class FiringState(StrEnum):
    """The outcome of one due time."""

    STARTED = "started"
    WAITING = "waiting"  #: For the end of the run before it.
    SKIPPED = "skipped"
    REFUSED = "refused"  #: The suite could not be started.


def _cron(line: str) -> str:
    if len(line.split()) != _FIELDS:
        raise ValueError("a cron line has five fields: minute, hour, day of month, month, day of week")
    try:
        next(CronSim(line, datetime(2024, 1, 1, tzinfo=UTC)))
    except StopIteration:
        raise ValueError("it never fires: no date has all of these") from None
    except Exception as trouble:  # of a field that is none: also AssertionError and TypeError
        what = str(trouble) or "not a cron line"
        told = f"{what[0].lower()}{what[1:]}, or no date has all of these and it never fires"
        raise ValueError(f"{told}; write e.g. 30 2 * * 1-5") from None
    return " ".join(line.split())


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except Exception:  # ValueError for a path, OSError for a folder, and its own
        raise ValueError(f"there is no time zone {name!r}; write e.g. Asia/Shanghai or UTC") from None
    return name


CronLine = Annotated[str, StringConstraints(max_length=200, pattern=r"^[\x20-\x7e]*$"), AfterValidator(_cron)]
ZoneName = Annotated[str, StringConstraints(max_length=60, pattern=r"^[A-Za-z0-9_+/-]+$"), AfterValidator(_zone)]


class ScheduleDocument(Strict):
    """When a suite is run."""

    suite: Name
    cron: CronLine = Field(description="Minute, hour, day of month, month, day of week.")
    zone: ZoneName = "UTC"
    missed: Missed = Missed.RUN_LATEST
    overlap: Overlap = Overlap.SKIP
    purpose: Literal["measure", "aa"] = Field(default="measure", description="aa: the suite against itself.")
    max_age_seconds: int | None = Field(
        default=None, ge=60, le=LONGEST_SECONDS, description="The suite is missing if it was not judged for so long."
    )

    @model_validator(mode="after")
    def _all_can_run(self) -> "ScheduleDocument":
        if self.missed is Missed.RUN_ALL and self.overlap is not Overlap.QUEUE:
            raise ValueError("missed: run_all needs overlap: queue, or only one of the runs would be left")
        return self


def after(cron: str, zone: str, moment: datetime) -> Iterator[datetime]:
    """The due times after a moment, earliest first, without end."""
    ticks = CronSim(cron, moment.astimezone(ZoneInfo(zone)))
    last = moment
    for tick in ticks:
        due = tick.astimezone(UTC)
        if due > last:  # two local times may be one moment
            last = due
            yield due


def between(cron: str, zone: str, moment: datetime, until: datetime) -> tuple[datetime, ...]:
    """The latest due times after a moment up to another one, at most `MOST_AT_ONCE`, earliest first."""
    found: list[datetime] = []
    # Backwards in growing steps, so that a year without a dispatcher costs no more than the last due times.
    step, end = timedelta(hours=1), until
    while end > moment and len(found) < MOST_AT_ONCE:
        start = max(moment, end - step) if end - step > datetime.min.replace(tzinfo=UTC) else moment
        some = []
        for due in after(cron, zone, start):
            if due > end:
                break
            some.append(due)
        found = [*some, *found]
        end, step = start, step * 2
    return tuple(found[-MOST_AT_ONCE:])


@dataclass(frozen=True)
class Due:
    """One due time that is acted on, and how many before it are given up with it."""

    at: datetime
    given_up: int = 0


def to_fire(due: Sequence[datetime], missed: Missed, now: datetime) -> tuple[Due, ...]:
    """Which of the due times that have come are acted on, earliest first."""
    if not due:
        return ()
    match missed:
        case Missed.RUN_ALL:
            return tuple(Due(at) for at in due)
        case Missed.RUN_LATEST:
            return (Due(due[-1], len(due) - 1),)
        case Missed.SKIP:
            return (Due(due[-1], len(due) - 1),) if now - due[-1] <= ON_TIME else ()
