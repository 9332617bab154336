"""The documents about baselines; what a client sends is in `orchestrator.model.baselines`."""

from datetime import datetime

from pydantic import Field

from api.documents.base import Document, View
from orchestrator.model.doubts import DoubtReason


class BaselineView(View):
    """A baseline of one cell of a suite, as lists show it."""

    id: int
    suite: str
    cell: str
    jobs: tuple[int, ...] = Field(description="Jobs whose results were copied in.")
    doubtful: dict[int, DoubtReason] = Field(
        description="Those of them whose results are in doubt: with any, the baseline is shown and not used."
    )
    author: str
    reason: str
    since: datetime
    until: datetime | None = Field(description="Null while it is in force.")
    ended_by: str | None
    ended_reason: str | None


class BaselineMetric(View):
    """One metric of a baseline, with one number of each run that has it."""

    name: str
    unit: str
    definition: str
    samples: tuple[float | None, ...]


class BaselineDetail(BaselineView):
    """A baseline with what was copied in."""

    settings: tuple[Document, ...] = Field(description="How each run was set.")
    metrics: tuple[BaselineMetric, ...]
    answers: int = Field(description="How many answers were copied in.")
