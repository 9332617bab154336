"""Documents about projects and their shares."""

from pydantic import Field

from api.documents.base import View
from orchestrator.model.specs import Strict


class ProjectView(View):
    """A project and its share of the slots."""

    name: str
    weight: float
    used_slot_seconds: float = Field(description="Its slot time, decayed by the half-life, including running jobs.")
    standing: float = Field(
        description="The same per unit of weight: of equally urgent jobs, the project with the lowest value is first."
    )


class WeightRequest(Strict):
    """The share of slot time that a project gets while all projects have work."""

    weight: float = Field(
        ge=1e-6, le=1e6, allow_inf_nan=False, description="With weights 2 and 1, the first project gets two thirds."
    )
