"""Batches as documents."""

from api.documents.batches import BatchView
from orchestrator.batches import report


def batch_view(facts: report.BatchFacts) -> BatchView:
    """A batch as lists show it."""
    row = facts.batch
    columns = {name: getattr(row, name) for name in BatchView.model_fields if hasattr(row, name)}
    return BatchView.model_validate({**columns, "state": facts.state, "counts": dict(facts.counts)})
