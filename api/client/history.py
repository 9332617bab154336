"""The client's call about the history of a series."""

from api.client.connection import Calls
from api.documents.history import HistoryView


class HistoryCalls(Calls):
    """Every `Client` has it."""

    def history(self, suite: str, cell: str, metric: str, limit: int = 200) -> HistoryView:
        """One series over the latest runs of its suite."""
        query = {"suite": suite, "cell": cell, "metric": metric, "limit": limit}
        return HistoryView.model_validate(self._connection.get("/history", query).json())
