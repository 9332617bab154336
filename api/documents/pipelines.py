"""Documents about pipelines."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from api.documents.jobs import JobView
from orchestrator.model.states import JobState


class PipelineView(View):
    """Named jobs submitted together, as lists show them."""

    id: int
    name: str
    project: str
    submitted_by: str | None = Field(default=None, description="Token that submitted it, or `schedule NAME`.")
    created_at: datetime
    state: JobState = Field(description="Of all its jobs together.")
    counts: dict[JobState, int]


class PipelineDetail(PipelineView):
    """A pipeline with its jobs, in the order in which they were submitted."""

    jobs: tuple[JobView, ...]
    needs: dict[int, tuple[int, ...]] = Field(
        default={}, description="By job, the jobs that it needs; jobs that need none are not among the keys."
    )
