"""The parts of a batch's report; the API answers with them as they are."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from orchestrator.model.failures import FailureKind


@dataclass(frozen=True)
class FailedJob:
    """A job that failed, and where it was tried last."""

    job_id: int
    name: str
    slot_id: str | None
    kind: FailureKind
    reason: str


@dataclass(frozen=True)
class SlotLine:
    """What one slot did for a batch. Seconds are those of the tool's process in attempts that succeeded."""

    slot_id: str
    jobs: int
    failures: int
    faults: int
    seconds_p50: float | None
    seconds_p95: Annotated[float | None, Field(description="Null below 130 attempts: too few for a 95th percentile.")]
    seconds_max: float | None
    exact: Annotated[int | None, Field(description="Answers equal to the golden ones, of `compared`.")]
    compared: int | None
    odd_prompts: Annotated[int, Field(description="Prompts on which it differs from the majority of the slots.")]
