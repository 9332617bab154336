"""From a triage to its document."""

from api.documents.triages import TriageCellView, TriageRunView, TriageView
from orchestrator.suites.triage import TriageFacts


def triage_view(facts: TriageFacts) -> TriageView:
    """A triage with its table."""
    row, decision = facts.row, facts.decision
    return TriageView(
        id=row.id, job_id=row.job_id, batch_id=row.batch_id, slot_id=row.slot_id,
        state="ended" if decision else "running",
        verdict=decision.cause if decision else None, why=decision.why if decision else None,
        observed=TriageRunView.model_validate(facts.observed),
        cells=tuple(TriageCellView.model_validate(cell) for cell in facts.cells),
        good_job_id=row.good_job_id, good_kcore=facts.good_kcore,
        created_by=row.created_by, created_at=row.created_at,
    )  # fmt: skip
