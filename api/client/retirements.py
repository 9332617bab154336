"""The client's calls about what is retired."""

from api.client.connection import Calls
from api.documents.retirements import RetirementView


class RetirementCalls(Calls):
    """One method per route."""

    def retirements(self) -> tuple[RetirementView, ...]:
        """All that is retired."""
        return self._connection.page(RetirementView, "/retirements", {}).items

    def retire(self, kind: str, name: str, note: str | None = None) -> RetirementView:
        """Hide a model, release, host or artifact from lists, and refuse it for new jobs."""
        body = {"kind": kind, "name": name, "note": note}
        return RetirementView.model_validate(self._connection.post("/retirements", body).json())

    def unretire(self, kind: str, name: str) -> RetirementView:
        """Use a retired thing again."""
        answer = self._connection.post("/retirements/lift", {"kind": kind, "name": name})
        return RetirementView.model_validate(answer.json())
