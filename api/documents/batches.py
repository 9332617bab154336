"""The documents about batches. No SQL here: the command line imports this module."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from orchestrator.model.batch_report import AnswerSet, DeviceTime, FailedJob, MatrixLine, OddGroup, SlotLine
from orchestrator.model.batches import BatchState, StopOn
from orchestrator.model.states import JobState
from orchestrator.results.majority import Agreement


class StopView(View):
    """Why the jobs of a batch that had not started were skipped."""

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
    submitted_by: str | None = Field(default=None, description="Token that submitted it, or `schedule NAME`.")
    state: BatchState = Field(description="Of all its jobs together.")
    stop_on: StopOn
    size: int
    counts: dict[JobState, int]
    left_out: dict[str, str] = Field(description="Slots that `all` left out, and why.")
    stop: StopView | None
    created_at: datetime
    ended_at: datetime | None


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
    doubtful: int = Field(default=0, description="Jobs whose results are in doubt: shown, not used.")
    slots: tuple[SlotLine, ...]
    odd_groups: tuple[OddGroup, ...] = Field(
        default=(), description="Card groups whose answers or measurements differ from the others, with their cards."
    )
    device_times: tuple[DeviceTime, ...] = Field(default=(), description="What the time of each slot went into.")
    agreement: Agreement
    first_failures: tuple[FailedJob, ...]
    first_faults: tuple[FaultView, ...]


class BatchMatrixView(View):
    """A batch as card group × round, the worst card group first."""

    rounds: int = Field(description="Of the card group with the most jobs.")
    first: int = Field(description="Number of the first round that is shown, from 1.")
    last: int
    lines: tuple[MatrixLine, ...]
    more_slots: int = Field(description="Card groups that are not shown.")
    unplaced: int = Field(description="Jobs that are in no round, because it is open where they will run.")
    answer_sets: tuple[AnswerSet, ...]
    more_sets: int = Field(description="Sets of answers that are not shown.")
