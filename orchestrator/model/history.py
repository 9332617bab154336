"""The parts of a job's history; the API answers with them as they are."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field

from orchestrator.model.failures import Failure
from orchestrator.model.states import AttemptState


@dataclass(frozen=True)
class PastAttempt:
    """One attempt: where it ran and why there, how it ended, and why another one followed."""

    number: int
    slot_id: str
    state: AttemptState
    started_at: datetime | None
    ended_at: datetime | None
    failure: Failure | None
    placed_because: str | None
    again_because: Annotated[str | None, Field(description="Null if the job was not queued again after it.")]


@dataclass(frozen=True)
class ChangedInput:
    """One part of a build that was another in the nearest earlier one; null where one of them had no such part."""

    part: Annotated[str, Field(description="`kind`, `release`, `parameter NAME` or `input NAME`.")]
    before: Any
    after: Any
    before_from: Annotated[
        int | None, Field(description="The job that produced the artifact; null if it is not an artifact.")
    ]
    after_from: int | None
