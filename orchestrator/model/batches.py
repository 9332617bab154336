"""Many jobs as one thing: what is asked for, when the rest of them is not worth starting, and how all stand together.

Pure: no SQL, no clock.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from orchestrator.errors import BadSpec
from orchestrator.model.specs import JobRequest, Name, SlotPattern, Strict
from orchestrator.model.states import FINAL, JobState

MOST_JOBS = 10_000
"""Of one batch: what one report can still show as one thing."""

ALL_SLOTS = "all"


class StopOn(StrEnum):
    """When the remaining jobs of a batch are skipped; each value includes the one before."""

    NEVER = "never"
    STICKY_FAULT = "sticky_fault"  #: A sticky fault signature: the card stays broken for the next job too.
    FAILURE = "failure"  #: A job has failed, whatever for.


class BatchState(StrEnum):
    """The state of all jobs of a batch together."""

    OPEN = "open"  #: Its jobs are still being written; none of them starts before all are there.
    RUNNING = "running"  #: Some have not ended.
    SUCCEEDED = "succeeded"  #: All have succeeded.
    FAILED = "failed"  #: All have ended, and some have failed.
    CANCELLED = "cancelled"  #: All have ended, none has failed, and some were cancelled or skipped.
    STOPPED = "stopped"  #: All have ended, and what had not begun when it was stopped was skipped.


def _named(slots: object) -> object:
    return None if slots == ALL_SLOTS else slots


Slots = Annotated[
    tuple[SlotPattern, ...] | None,
    BeforeValidator(_named, json_schema_input_type=Literal["all"] | tuple[str, ...] | None),
]
"""Those that are named; None, also written `all`, is all that serve."""

Times = Annotated[int, Field(ge=1, le=MOST_JOBS)]


class BatchRequest(Strict):
    """Jobs that are created together, with one report: those of a list, or one of them many times.

    `template` is made `times` times on each of `slots`, pinned there.
    """

    name: Name
    project: Name = "default"
    stop_on: StopOn = StopOn.NEVER
    jobs: tuple[JobRequest, ...] | None = Field(default=None, min_length=1, max_length=MOST_JOBS)
    template: JobRequest | None = None
    times: Times | None = Field(default=None, description="With template: runs on each slot. Default: 1.")
    slots: Slots = Field(
        default=None,
        description="With template: slots, as g3 or HOST.g3. Default: all of its kind that are in service.",
    )

    @model_validator(mode="after")
    def _one_of_both(self) -> "BatchRequest":
        if (self.jobs is None) == (self.template is None):
            raise ValueError("give either jobs (a list of requests) or template (one request)")
        if self.jobs is not None and (self.times is not None or self.slots is not None):
            raise ValueError("times and slots need a template; omit them, or give a template")
        if self.slots == ():
            raise ValueError('slots is empty: name one, or write "all"')
        return self


def requests_of(batch: BatchRequest, serving: Sequence[str]) -> list[tuple[str, JobRequest]]:
    """Every job of a batch with its place in the document; `serving` are the slots that `all` means.

    BadSpec if two are called the same, or if they are too many.
    """
    if batch.template is None:
        requests = [(f"jobs.{index}", request) for index, request in enumerate(batch.jobs or ())]
    else:
        requests = [("template", request) for request in _multiplied(batch, batch.template, serving)]
    seen: set[str] = set()
    for place, request in requests:
        if request.name is not None and request.name in seen:
            raise BadSpec(f"two jobs of the batch have the name {request.name}; rename one", field=f"{place}.name")
        seen.update([request.name] if request.name else [])
    return requests


def _multiplied(batch: BatchRequest, template: JobRequest, serving: Sequence[str]) -> list[JobRequest]:
    slots = serving if batch.slots is None else batch.slots
    times = batch.times or 1
    if len(set(slots)) < len(slots):
        raise BadSpec("a slot is named twice; name it once and raise times", field="slots")
    if len(slots) * times > MOST_JOBS:
        raise BadSpec(f"{times} times on {len(slots)} slots are more than {MOST_JOBS} jobs", field="times")
    if template.placement.slot is not None:
        raise BadSpec("the batch pins each job itself; use slots instead", field="template.placement.slot")
    pinned = {slot: _pinned(template, slot) for slot in slots}
    # Round by round, so that the numbers of jobs say which of them were to run side by side.
    return [
        pinned[slot].model_copy(update={"name": f"{slot}-{time}"}) for time in range(1, times + 1) for slot in slots
    ]


def _pinned(template: JobRequest, slot: str) -> JobRequest:
    """Validated again: what the template requests may not fit that slot."""
    document = template.model_dump(mode="json")
    document["placement"]["slot"] = slot
    try:
        return JobRequest.model_validate(document)
    except ValidationError as trouble:
        raise BadSpec(trouble.errors()[0]["msg"].removeprefix("Value error, "), field="slots") from None


@dataclass(frozen=True)
class Trouble:
    """What happened to one job of a batch."""

    job_id: int
    job_name: str
    reason: str
    sticky: bool
    """It is a fault signature that lasts; else the job has failed."""
    slot_id: str | None = None
    signature: str | None = None

    def sentence(self) -> str:
        """One line for the jobs that are skipped because of it."""
        where = f" on {self.slot_id}" if self.slot_id else ""
        what = "a sticky fault" if self.sticky else "a failure"
        return f"{what} of job {self.job_id} ({self.job_name}){where}: {self.reason}"


def stopping(stop_on: StopOn, troubles: Iterable[Trouble]) -> Trouble | None:
    """The first of the troubles that stops such a batch; None if it goes on."""
    match stop_on:
        case StopOn.NEVER:
            return None
        case StopOn.STICKY_FAULT:
            return next((trouble for trouble in troubles if trouble.sticky), None)
        case StopOn.FAILURE:
            return next(iter(troubles), None)


def batch_state(counts: Mapping[JobState, int], *, sealed: bool, stopped: bool) -> BatchState:
    """How a batch stands, from how many of its jobs are in which state; one that was stopped is so once all ended."""
    present = {state for state, count in Counter(counts).items() if count}
    if not sealed and not stopped:
        return BatchState.OPEN
    if present - FINAL:
        return BatchState.RUNNING
    if stopped:
        return BatchState.STOPPED if sealed else BatchState.CANCELLED
    if JobState.FAILED in present:
        return BatchState.FAILED
    return BatchState.CANCELLED if present - {JobState.SUCCEEDED} else BatchState.SUCCEEDED
