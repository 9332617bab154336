"""The client's calls about cases."""

from typing import Any

from pydantic import BaseModel

from api.client.connection import Calls, segment, sent
from api.documents.base import Page
from api.documents.cases import CaseDetail, CaseView
from orchestrator.model.baselines import Because
from orchestrator.model.cases import AcceptOrder, Comment


class CaseCalls(Calls):
    """One method per route; available as `client.cases`."""

    def page(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[CaseView]:
        """A page of cases, newest first; filters are `state` (a list), `suite` and `closed` (includes those)."""
        return self._connection.page(CaseView, "/cases", {"limit": limit, "cursor": cursor, **filters})

    def show(self, case: int) -> CaseDetail:
        """A case with its series and its trail."""
        return CaseDetail.model_validate(self._connection.get(f"/cases/{segment(case)}").json())

    def accept(self, case: int, order: AcceptOrder) -> CaseDetail:
        """Take a case as a known issue until a date."""
        return self._changed(case, "accept", order)

    def close(self, case: int, because: Because) -> CaseDetail:
        """Close a case."""
        return self._changed(case, "close", because)

    def reopen(self, case: int, because: Because) -> CaseDetail:
        """Open a closed case again."""
        return self._changed(case, "reopen", because)

    def comment(self, case: int, comment: Comment) -> CaseDetail:
        """Add a remark to the trail of a case."""
        return self._changed(case, "comment", comment)

    def _changed(self, case: int, what: str, body: BaseModel) -> CaseDetail:
        return CaseDetail.model_validate(
            self._connection.post(f"/cases/{segment(case)}/{segment(what)}", sent(body)).json()
        )
