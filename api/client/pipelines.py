"""The client's calls about pipelines."""

from typing import Any

from api.client.connection import Calls, segment, sent
from api.documents.base import Page
from api.documents.jobs import CheckedJob, OrderReport
from api.documents.pipelines import PipelineDetail, PipelineView
from orchestrator.model.orders import Action
from orchestrator.model.specs import PipelineRequest


class PipelineCalls(Calls):
    """One method per route; every `Client` has them."""

    def submit_pipeline(self, request: PipelineRequest, key: str | None = None) -> PipelineDetail:
        """Submit a pipeline with all its jobs, or nothing."""
        return PipelineDetail.model_validate(self._connection.post("/pipelines", sent(request), key=key).json())

    def check_pipeline(self, request: PipelineRequest) -> tuple[CheckedJob, ...]:
        """Check a pipeline as its submission would; nothing is made."""
        return Page[CheckedJob].model_validate(self._connection.post("/pipelines/check", sent(request)).json()).items

    def pipelines(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[PipelineView]:
        """A page of pipelines, newest first; filters are `project`, `name`, `submitted_by` and `since`."""
        return self._connection.page(PipelineView, "/pipelines", {"limit": limit, "cursor": cursor, **filters})

    def pipeline(self, pipeline: int) -> PipelineDetail:
        """A pipeline with its jobs."""
        return PipelineDetail.model_validate(self._connection.get(f"/pipelines/{segment(pipeline)}").json())

    def order_pipeline(
        self, pipeline: int, action: Action, note: str | None = None, priority: int | None = None
    ) -> OrderReport:
        """Hold, unhold, reprioritise or move to the front all jobs of a pipeline that have not ended."""
        body = {"note": note, **({} if priority is None else {"priority": priority})}
        return OrderReport.model_validate(
            self._connection.post(f"/pipelines/{segment(pipeline)}/{segment(action)}", body).json()
        )
