"""The client's calls about hosts."""

from api.client.connection import Calls, segment
from api.documents.hosts import HostDetail, HostView


class HostCalls(Calls):
    """One method per route; every `Client` has them."""

    def hosts(self, *, retired: bool = False) -> tuple[HostView, ...]:
        """The hosts in use, or those that are retired."""
        return self._connection.page(HostView, "/hosts", {"retired": "true"} if retired else {}).items

    def host(self, name: str) -> HostDetail:
        """One host with its slots."""
        return HostDetail.model_validate(self._connection.get(f"/hosts/{segment(name)}").json())
