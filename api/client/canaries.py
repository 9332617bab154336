"""The client's calls about canaries."""

from api.client.connection import Calls, segment, sent
from api.documents.canaries import CanaryView
from api.documents.jobs import JobView
from orchestrator.model.specs import CanarySpec


class CanaryCalls(Calls):
    """One method per route; every `Client` has them."""

    def set_canary(self, release: str, spec: CanarySpec) -> CanaryView:
        """Set the canary of a release, which checks the cards of quarantined slots."""
        return CanaryView.model_validate(self._connection.put(f"/canaries/{segment(release)}", sent(spec)).json())

    def canaries(self) -> tuple[CanaryView, ...]:
        """All canaries."""
        return self._connection.page(CanaryView, "/canaries", {}).items

    def run_canary(self, slot: str, key: str | None = None) -> JobView:
        """Check a slot's cards now; returns the job that does it."""
        return JobView.model_validate(self._connection.post(f"/slots/{segment(slot)}/canary", key=key).json())
