"""The client's calls about slots."""

from api.client.connection import Calls, segment
from api.documents.slots import SlotHealth, SlotHistory, SlotView


class SlotCalls(Calls):
    """One method per route; every `Client` has them."""

    def slots(self) -> tuple[SlotView, ...]:
        """All slots of all hosts."""
        return self._connection.page(SlotView, "/slots", {}).items

    def slot(self, slot: str) -> SlotHistory:
        """One slot (`HOST.g3`): the jobs that wait only for it, and the evidence about its cards."""
        return SlotHistory.model_validate(self._connection.get(f"/slots/{segment(slot)}").json())

    def slot_health(self, slot: str, days: int = 14, zone: str = "UTC") -> SlotHealth:
        """How suspect a slot was lately, and what its time went into day by day."""
        asked = {"days": days, "zone": zone}
        return SlotHealth.model_validate(self._connection.get(f"/slots/{segment(slot)}/health", asked).json())

    def drain(self, slot: str, note: str | None = None) -> SlotView:
        """Let a slot finish its job and accept no more."""
        return SlotView.model_validate(self._connection.post(f"/slots/{segment(slot)}/drain", {"note": note}).json())

    def resume(self, slot: str, note: str | None = None) -> SlotView:
        """Return a slot to service."""
        return SlotView.model_validate(self._connection.post(f"/slots/{segment(slot)}/resume", {"note": note}).json())

    def quarantine(self, slot: str, note: str | None = None) -> SlotView:
        """Quarantine a slot: it gets no work until a person resumes it."""
        return SlotView.model_validate(
            self._connection.post(f"/slots/{segment(slot)}/quarantine", {"note": note}).json()
        )
