"""The documents about triages."""

from datetime import datetime
from typing import Literal

from pydantic import Field

from api.documents.base import View
from orchestrator.model.specs import Strict
from orchestrator.results.triage import Cause, CrossOutcome


class TriageRequest(Strict):
    """A triage to start."""

    repeats: int = Field(default=2, ge=1, le=20, description="Runs of each cell of the cross.")


class TriageRunView(View):
    """One run of a cell."""

    job_id: int
    slot_id: str | None
    kcore: str | None = Field(description="Digest of its kernel image.")
    outcome: CrossOutcome | None = Field(description="Null while it has not ended.")
    right: int
    wrong: int


class TriageCellView(View):
    """The repeats of one cell of the cross."""

    name: Literal["elsewhere", "here"] = Field(
        description="elsewhere: the same kernel image on another card group; here: the last good kernel image on this "
        "card group."
    )
    runs: tuple[TriageRunView, ...]
    outcome: CrossOutcome
    absent: str | None = Field(description="Why it could not be run.")


class TriageView(View):
    """Card, toolchain or model: the verdict about one job, and the table it stands on."""

    id: int
    job_id: int
    batch_id: int = Field(description="The batch of its runs.")
    slot_id: str = Field(description="The card group that is asked about.")
    state: Literal["running", "ended"]
    verdict: Cause | None = Field(description="Null while a run has not ended.")
    why: str | None = Field(description="The verdict in one sentence.")
    observed: TriageRunView
    cells: tuple[TriageCellView, ...]
    good_job_id: int | None = Field(description="The latest run of another kernel image that is known to be right.")
    good_kcore: str | None
    created_by: str
    created_at: datetime
