"""The client's calls about slots."""

from api.client.connection import Calls
from api.documents.slots import SlotHistory, SlotView


class SlotCalls(Calls):
    """One method a route; every `Client` has them."""

    def slots(self) -> tuple[SlotView, ...]:
        """All slots of all hosts."""
        return self._connection.page(SlotView, "/slots", {}).items

    def slot(self, slot: str) -> SlotHistory:
        """One slot (`HOST.g3`): the jobs that wait for it alone, and what speaks for and against its cards."""
        return SlotHistory.model_validate(self._connection.get(f"/slots/{slot}").json())

    def drain(self, slot: str, note: str | None = None) -> SlotView:
        """Let a slot finish what it runs and take no more."""
        return SlotView.model_validate(self._connection.post(f"/slots/{slot}/drain", {"note": note}).json())

    def resume(self, slot: str, note: str | None = None) -> SlotView:
        """Give a slot work again."""
        return SlotView.model_validate(self._connection.post(f"/slots/{slot}/resume", {"note": note}).json())

    def quarantine(self, slot: str, note: str | None = None) -> SlotView:
        """Give a suspect slot no work until someone resumes it."""
        return SlotView.model_validate(self._connection.post(f"/slots/{slot}/quarantine", {"note": note}).json())
