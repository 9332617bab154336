"""Doubts as documents."""

from api.documents.doubts import DoubtView
from orchestrator.storage.tables import Doubt


def doubt_view(doubt: Doubt, job_id: int, job_name: str) -> DoubtView:
    """A doubt about the results of that job."""
    columns = {name: getattr(doubt, name) for name in DoubtView.model_fields if hasattr(doubt, name)}
    return DoubtView.model_validate({**columns, "job_id": job_id, "job_name": job_name})
