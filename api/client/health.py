"""The client's calls about health."""

from api.client.connection import Calls
from api.documents.health import Readiness


class HealthCalls(Calls):
    """One method per route; every `Client` has them."""

    def ready(self) -> Readiness:
        """Whether the server is ready; needs no token."""
        return Readiness.model_validate(self._connection.probe("/health/ready").json())
