"""The client's calls about servers."""

from api.client.connection import Connection
from api.documents.endpoints import EndpointView
from api.documents.jobs import JobView


class EndpointCalls:
    """One method a route; reached as `client.endpoints`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def all(self, model: str | None = None) -> tuple[EndpointView, ...]:
        """Every endpoint that is open, or those of one model."""
        return self._connection.page(EndpointView, "/endpoints", {"model": model}).items

    def stop(self, job: int, note: str | None = None) -> JobView:
        """End a server in good order; it has succeeded then."""
        return JobView.model_validate(self._connection.post(f"/jobs/{job}/stop", {"note": note}).json())
