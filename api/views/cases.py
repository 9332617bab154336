"""Cases as documents."""

from api.documents.cases import CaseDetail, CaseView
from orchestrator.storage.tables import Case
from orchestrator.suites.cases import CaseFacts


def case_view(row: Case) -> CaseView:
    """A case as lists show it."""
    return CaseView.model_validate(row)


def case_detail(facts: CaseFacts) -> CaseDetail:
    """A case with its series and its trail."""
    shown = {name: getattr(facts.case, name) for name in CaseView.model_fields}
    return CaseDetail.model_validate({**shown, "series": facts.series, "entries": facts.entries})
