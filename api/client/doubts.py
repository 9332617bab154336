"""The client's calls about doubts."""

from typing import Any

from api.client.connection import Calls, sent
from api.documents.base import Page
from api.documents.doubts import DoubtView
from orchestrator.model.doubts import LiftOrder


class DoubtCalls(Calls):
    """One method per route; available as `client.doubts`."""

    def page(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[DoubtView]:
        """A page of doubts, newest first; filters are `job`, `slot` and `lifted` (includes those)."""
        return self._connection.page(DoubtView, "/doubts", {"limit": limit, "cursor": cursor, **filters})

    def lift(self, order: LiftOrder) -> Page[DoubtView]:
        """Lift doubts; returns those that were lifted."""
        return Page[DoubtView].model_validate(self._connection.post("/doubts/lift", sent(order)).json())
