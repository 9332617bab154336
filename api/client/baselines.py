"""The client's calls about baselines."""

from typing import Any

from api.client.connection import Calls, segment, sent
from api.documents.base import Page
from api.documents.baselines import BaselineDetail, BaselineView
from orchestrator.model.baselines import BaselineOrder, Because


class BaselineCalls(Calls):
    """One method per route; available as `client.baselines`."""

    def set(self, order: BaselineOrder) -> BaselineDetail:
        """Make a baseline; with `replaces` in the order, accept a shift."""
        return BaselineDetail.model_validate(self._connection.post("/baselines", sent(order)).json())

    def page(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[BaselineView]:
        """A page of baselines, newest first; filters are `suite`, `cell` and `ended` (includes those)."""
        return self._connection.page(BaselineView, "/baselines", {"limit": limit, "cursor": cursor, **filters})

    def show(self, baseline: int) -> BaselineDetail:
        """One baseline with what was copied in."""
        return BaselineDetail.model_validate(self._connection.get(f"/baselines/{segment(baseline)}").json())

    def retire(self, baseline: int, because: Because) -> BaselineView:
        """End a baseline without another one."""
        answer = self._connection.post(f"/baselines/{segment(baseline)}/retire", sent(because))
        return BaselineView.model_validate(answer.json())
