"""The client's calls about reservations."""

from typing import Any

from api.client.connection import Calls, segment, sent
from api.documents.base import Page
from api.documents.reservations import ReservationView
from orchestrator.model.reservations import ReservationRequest


class ReservationCalls(Calls):
    """One method per route; available as `client.reservations`."""

    def make(self, request: ReservationRequest) -> ReservationView:
        """Reserve slots for a time."""
        return ReservationView.model_validate(self._connection.post("/reservations", sent(request)).json())

    def page(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[ReservationView]:
        """A page of reservations, latest first; filters are `slot` and `past` (includes past ones)."""
        return self._connection.page(ReservationView, "/reservations", {"limit": limit, "cursor": cursor, **filters})

    def cancel(self, reservation: int, note: str | None = None) -> ReservationView:
        """Cancel a reservation before its end."""
        answer = self._connection.post(f"/reservations/{segment(reservation)}/cancel", {"note": note})
        return ReservationView.model_validate(answer.json())
