"""The client's calls about health."""

from api.client.connection import Calls
from api.documents.health import Readiness


class HealthCalls(Calls):
    """One method a route; every `Client` has them."""

    def ready(self) -> Readiness:
        """Whether the server can do its work; asked without a token."""
        return Readiness.model_validate(self._connection.probe("/health/ready").json())
