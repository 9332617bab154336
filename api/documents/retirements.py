"""The document about what is retired."""

from datetime import datetime

from api.documents.base import View
from orchestrator.model.retirements import Retirable


class RetirementView(View):
    """One thing that is hidden from lists and refused for new jobs."""

    kind: Retirable
    name: str
    by: str
    note: str | None
    at: datetime
