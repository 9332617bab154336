"""What people may order of jobs that exist, one or many at once."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from orchestrator.model.failures import FailureKind
from orchestrator.model.specs import Name, Strict
from orchestrator.model.states import JobState

MOST_JOBS = 1000
"""Of one action: some seconds of one transaction, during which nothing else writes on SQLite."""

LARGEST_NUMBER = 2**63 - 1


class Action(StrEnum):
    """One thing that a person may order."""

    CANCEL = "cancel"  #: Stop: at once, or as soon as the worker has ended what runs.
    STOP = "stop"  #: Stop a server gracefully: it has succeeded then.
    HOLD = "hold"  #: Do not place it until the hold is undone.
    UNHOLD = "unhold"  #: Undo a hold.
    PRIORITY = "priority"  #: Give it another priority, at that priority's usual place.
    FRONT = "front"  #: Move it before all others of its priority.

    @classmethod
    def _missing_(cls, value: object) -> "Action | None":
        """`release` is the old word for `unhold`, understood for one more version."""
        return cls.UNHOLD if value == "release" else None


Note = Annotated[str, StringConstraints(min_length=1, max_length=500)]
"""Why, in the words of who orders it."""

Priority = Annotated[int, Field(ge=0, le=9, description="9 first.")]


@dataclass(frozen=True)
class Order:
    """One action on one job or on many, with who orders it and why; its events carry `by` and `why`."""

    action: Action
    by: str | None
    """The name of a token; None for the dispatcher."""
    note: str | None = None
    priority: int | None = None
    """Of action `priority` only."""


def ordered_by(done: str, by: str | None, why: str | None) -> str:
    """What was done, by whom and why, in one line: "cancelled by alice: wrong model"."""
    return f"{done}{f' by {by}' if by else ''}{f': {why}' if why else ''}"


OrderToEnd = dict[str, Any]
"""An order to cancel or stop a job as its row has it: `by`, `why` and `at`, an ISO time."""


def order_to_end(by: str | None, why: str | None, now: datetime) -> OrderToEnd:
    """An order that is given now."""
    return {"by": by, "why": why, "at": now.isoformat()}


def standing_order(
    cancel: OrderToEnd | None, stop: OrderToEnd | None, *, stopped: str = "it ended while it was being stopped"
) -> OrderToEnd | None:
    """The order by which a job is cancelled; None if there is none. `stopped` says why an order to stop cancels it."""
    if cancel is not None or stop is None:
        return cancel
    return {**stop, "why": ordered_by(stopped, None, stop["why"])}


class Reason(Strict):
    """Why it is ordered; kept in the events."""

    note: Note | None = None

    def order(self, action: Action, by: str) -> Order:
        """This action, with what the caller sent."""
        return Order(action, by, self.note)


class NewPriority(Reason):
    """The new priority."""

    priority: Priority

    def order(self, action: Action, by: str) -> Order:
        """This action, with what the caller sent."""
        return Order(action, by, self.note, self.priority)


class Chosen(Strict):
    """Unfinished jobs that fit all that is said; something must be."""

    states: tuple[JobState, ...] = Field(default=(), max_length=len(JobState))
    project: Name | None = None
    pipeline: int | None = Field(default=None, ge=1, le=LARGEST_NUMBER)
    batch: int | None = Field(default=None, ge=1, le=LARGEST_NUMBER)
    kind: Name | None = None
    model: Name | None = None
    release: Name | None = None
    slot: Name | None = Field(default=None, description="An attempt of it ran there.")
    name: Name | None = None
    submitted_by: str | None = Field(default=None, min_length=1, max_length=120)
    q: str | None = Field(default=None, min_length=1, max_length=1000, description="A part of the name.")
    since: AwareDatetime | None = Field(default=None, description="Submitted then or later.")
    until: AwareDatetime | None = Field(default=None, description="Submitted before.")
    failure: FailureKind | None = None
    failed_after: AwareDatetime | None = None

    @model_validator(mode="after")
    def _says_something(self) -> "Chosen":
        if not any(value for _, value in self):
            raise ValueError("an empty filter would mean every job: give states, project, batch or another field")
        return self


class BulkOrder(Reason):
    """One action on many jobs: those of a list, or those that fit a filter."""

    action: Action
    jobs: tuple[Annotated[int, Field(ge=1, le=LARGEST_NUMBER)], ...] = Field(default=(), max_length=MOST_JOBS)
    filter: Chosen | None = None
    priority: Priority | None = Field(default=None, description="With action `priority`, and only with it.")

    @model_validator(mode="after")
    def _whole(self) -> "BulkOrder":
        if bool(self.jobs) == (self.filter is not None):
            raise ValueError("give either jobs (a list of numbers) or filter")
        if (self.action is Action.PRIORITY) != (self.priority is not None):
            raise ValueError("priority is only allowed with the action priority: give both or neither")
        return self
