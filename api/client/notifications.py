"""The client's calls about notifications."""

from api.client.connection import Calls, segment, sent
from api.documents.base import Page
from api.documents.notifications import DeliveryView, NewTarget, TargetView
from orchestrator.model.notifications import TargetRequest


class NotificationCalls(Calls):
    """Available as `client.notifications`."""

    def add(self, request: TargetRequest) -> NewTarget:
        """Add a target; only this answer contains its secret."""
        return NewTarget.model_validate(self._connection.post("/notifications", sent(request)).json())

    def targets(self) -> tuple[TargetView, ...]:
        """All targets, without their secrets."""
        return self._connection.page(TargetView, "/notifications", {}).items

    def remove(self, name: str) -> None:
        """Remove a target and the log of its messages."""
        self._connection.delete(_path(name))

    def test(self, name: str) -> DeliveryView:
        """Order a test message."""
        return DeliveryView.model_validate(self._connection.post(f"{_path(name)}/test").json())

    def deliveries(self, name: str, limit: int = 100, cursor: str | None = None) -> Page[DeliveryView]:
        """A page of the messages of a target, newest first."""
        query = {"limit": limit, "cursor": cursor}
        return self._connection.page(DeliveryView, f"{_path(name)}/deliveries", query)

    def resend(self, name: str, delivery: int) -> DeliveryView:
        """Send a message again."""
        path = f"{_path(name)}/deliveries/{delivery}/resend"
        return DeliveryView.model_validate(self._connection.post(path).json())


def _path(name: str) -> str:
    return f"/notifications/{segment(name)}"
