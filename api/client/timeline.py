"""The client's call about what happened on card groups."""

from datetime import datetime

from api.client.connection import Calls
from api.documents.timeline import TimelineView


class TimelineCalls(Calls):
    """Every `Client` has it."""

    def timeline(self, begin: datetime, end: datetime, host: str | None = None) -> TimelineView:
        """What ran on each card group between two times, when it was reserved or out of service."""
        query = {"begin": begin.isoformat(), "end": end.isoformat(), "host": host}
        return TimelineView.model_validate(self._connection.get("/timeline", query).json())
