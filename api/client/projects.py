"""The client's calls about projects."""

from api.client.connection import Calls, segment
from api.documents.projects import ProjectView


class ProjectCalls(Calls):
    """One method per route; every `Client` has them."""

    def projects(self) -> tuple[ProjectView, ...]:
        """All projects."""
        return self._connection.page(ProjectView, "/projects", {}).items

    def set_weight(self, project: str, weight: float) -> ProjectView:
        """Set the weight of a project relative to the others."""
        return ProjectView.model_validate(
            self._connection.put(f"/projects/{segment(project)}", {"weight": weight}).json()
        )
