"""The client's calls about servers."""

from api.client.connection import Calls
from api.documents.endpoints import EndpointView


class EndpointCalls(Calls):
    """One method per route; available as `client.endpoints`."""

    def all(self, model: str | None = None) -> tuple[EndpointView, ...]:
        """Every endpoint that is open, or those of one model."""
        return self._connection.page(EndpointView, "/endpoints", {"model": model}).items
