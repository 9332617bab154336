"""The client's calls about triages."""

from api.client.connection import Calls, segment
from api.documents.triages import TriageView


class TriageCalls(Calls):
    """Available as `client.triages`."""

    def start(self, job: int, repeats: int = 2, *, key: str | None = None) -> TriageView:
        """Submit the small cross of a job; with a `key`, a repeated call creates nothing a second time."""
        answer = self._connection.post(f"/jobs/{segment(job)}/triage", {"repeats": repeats}, key=key)
        return TriageView.model_validate(answer.json())

    def show(self, triage: int) -> TriageView:
        """A triage, with the verdict once its runs have ended."""
        return TriageView.model_validate(self._connection.get(f"/triages/{segment(triage)}").json())
