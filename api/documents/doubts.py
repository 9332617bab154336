"""The documents about doubts; what a client sends is in `orchestrator.model.doubts`."""

from datetime import datetime

from pydantic import Field

from api.documents.base import Document, View
from orchestrator.model.doubts import DoubtReason


class Lifting(View):
    """Who lifted a doubt, why and when."""

    by: str
    note: str
    at: datetime


class DoubtView(View):
    """Why the results of one attempt are shown and not used."""

    id: int
    job_id: int
    job_name: str
    attempt_id: int
    slot_id: str = Field(description="The slot whose cards the evidence is about.")
    reason: DoubtReason
    evidence: Document = Field(description="What was found, by which job, and the last proof before it.")
    at: datetime
    lifted: Lifting | None = Field(description="Null while the doubt counts.")
