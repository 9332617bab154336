"""The client's calls about batches."""

from collections.abc import Iterator
from typing import Any

from api.client.connection import Calls, segment, sent
from api.documents.base import Page
from api.documents.batches import BatchDetail, BatchMatrixView, BatchView
from api.documents.jobs import OrderReport
from orchestrator.model.batches import BatchRequest
from orchestrator.model.orders import Action


class BatchCalls(Calls):
    """One method per route; available as `client.batches`."""

    def submit(self, request: BatchRequest, key: str | None = None) -> BatchView:
        """Make all jobs or none, which takes a while for thousands; with the same `key`, a repeated request creates
        only one."""
        answer = self._connection.post("/batches", sent(request), key=key, timeout=None)
        return BatchView.model_validate(answer.json())

    def page(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[BatchView]:
        """A page of batches, newest first; filters are `project`, `name`, `submitted_by` and `since`."""
        return self._connection.page(BatchView, "/batches", {"limit": limit, "cursor": cursor, **filters})

    def show(self, batch: int) -> BatchDetail:
        """A batch with its report."""
        return BatchDetail.model_validate(self._connection.get(f"/batches/{segment(batch)}").json())

    def progress(self, batch: int) -> BatchView:
        """The progress of a batch, without the report."""
        return BatchView.model_validate(self._connection.get(f"/batches/{segment(batch)}/progress").json())

    def matrix(self, batch: int, first: int | None = None) -> BatchMatrixView:
        """The batch as card group × round, from round `first` on; by default up to the last one that has begun."""
        address = f"/batches/{segment(batch)}/matrix"
        return BatchMatrixView.model_validate(self._connection.get(address, {"first": first}).json())

    def junit(self, batch: int, *, require_agreement: bool = False) -> Iterator[bytes]:
        """The batch as JUnit XML; with `require_agreement` one case more, which fails unless all slots agree."""
        asked = {"require_agreement": "true"} if require_agreement else {}
        return self._connection.bytes(f"/batches/{segment(batch)}/junit", asked)

    def order(self, batch: int, action: Action, note: str | None = None, priority: int | None = None) -> OrderReport:
        """Cancel, hold, unhold, reprioritise or move to the front all jobs of a batch that have not ended."""
        body = {"note": note, **({} if priority is None else {"priority": priority})}
        answer = self._connection.post(f"/batches/{segment(batch)}/{segment(action)}", body, timeout=None)
        return OrderReport.model_validate(answer.json())
