"""The client's calls about provisioning: requesting it, and the outcome of each step."""

from api.client.connection import Calls, segment, sent
from api.documents.jobs import JobDetail, JobView
from api.documents.provisioning import ProvisionReport
from orchestrator.model.provision import ProvisionRequest

_ARTIFACT = "provision"


class ProvisionCalls(Calls):
    """Available as `client.provisioning`."""

    def start(self, host: str, request: ProvisionRequest, key: str | None = None) -> JobView:
        """Set up a host; with the same `key`, a repeated request does it only once."""
        answer = self._connection.post(f"/hosts/{segment(host)}/provision", sent(request), key=key)
        return JobView.model_validate(answer.json())

    def report(self, job: JobDetail) -> ProvisionReport | None:
        """The outcome of each step in the latest attempt that has one; None if no step was started."""
        stored = [output for output in job.outputs if output.name == _ARTIFACT]
        if not stored:
            return None
        return ProvisionReport.model_validate(
            self._connection.get(f"/artifacts/{segment(stored[-1].id)}/content").json()
        )
