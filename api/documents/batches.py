"""The documents about batches. No SQL here: the command line imports this module."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from orchestrator.model.batches import BatchState, StopOn
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import JobState


class StopView(View):
    """Why the jobs of a batch that had not begun were not started any more."""

    reason: str
    job_id: int | None = None
    slot_id: str | None = None
    signature: str | None = None
    at: datetime


class BatchView(View):
    """A batch, as lists show it."""

    id: int
    name: str
    project: str
    state: BatchState = Field(description="Of all its jobs together.")
    stop_on: StopOn
    size: int
    counts: dict[JobState, int]
    left_out: dict[str, str] = Field(description="Slots that `all` left out, and why.")
    stop: StopView | None
    created_at: datetime
    ended_at: datetime | None


class SlotLineView(View):
    """What one slot did for a batch. Seconds are those of the tool's process in attempts that succeeded."""

    slot_id: str
    jobs: int
    failures: int
    faults: int
    seconds_p50: float | None
    seconds_p95: float | None = Field(description="Null below 130 attempts: too few for a 95th percentile.")
    seconds_max: float | None
    exact: int | None = Field(description="Answers equal to the golden ones, of `compared`.")
    compared: int | None
    odd_prompts: int = Field(description="Prompts on which it differs from the majority of the slots.")


class OddSlotView(View):
    """A slot that gave answers of its own: to how many prompts, and the first of them."""

    slot_id: str
    prompts: int
    first: int


class AgreementView(View):
    """How far the slots agree on what they answered."""

    prompts: int
    odd: tuple[OddSlotView, ...]
    undecided: int = Field(description="Prompts without a majority answer.")
    unsteady: tuple[str, ...] = Field(
        description="Slots that are not deterministic: different answers to the same prompt."
    )


class FailedJobView(View):
    """A job that failed, and where it was tried last."""

    job_id: int
    name: str
    slot_id: str | None
    kind: FailureKind
    reason: str


class FaultView(View):
    """An attempt that the infrastructure spoiled, or that left its slot suspect."""

    job_id: int
    name: str
    slot_id: str
    reason: str
    signature: str | None
    quarantined: bool


class BatchDetail(BatchView):
    """A batch with its report."""

    failures: dict[str, int] = Field(description="Failed jobs by kind; faults are counted separately.")
    faults: int = Field(description="Attempts that ended with an infrastructure fault; skipped jobs are not counted.")
    slots: tuple[SlotLineView, ...]
    agreement: AgreementView
    first_failures: tuple[FailedJobView, ...]
    first_faults: tuple[FaultView, ...]
