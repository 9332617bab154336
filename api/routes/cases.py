"""Cases: regressions that people work on; list, show, accept, close, reopen, comment."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query

from api.access import Actor, GuardedRoute
from api.context import Context, Given
from api.documents.base import Page
from api.documents.cases import CaseDetail, CaseView
from api.parameters import Cursor, Limit, NameFilter, Number, first_position, number_of, page
from api.views.cases import case_detail, case_view
from orchestrator.model.baselines import Because
from orchestrator.model.cases import AcceptOrder, CaseState, Comment
from orchestrator.suites import cases

router = APIRouter(prefix="/cases", tags=["cases"], route_class=GuardedRoute)


@router.get("")
def list_cases(
    context: Given,
    state: Annotated[list[CaseState], Query()] = [],  # noqa: B006  # FastAPI copies defaults
    suite: NameFilter | None = None,
    closed: Annotated[bool, Query(description="Also closed ones.")] = False,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[CaseView]:
    """Open cases, newest first; `suite` is one that has a series of the case."""
    before = first_position(cursor)
    with context.database.read() as session:
        found = cases.cases(session, limit=limit + 1, before=before, suite=suite, states=state, closed=closed)
        views = [case_view(row) for row in found]
    return page(views, limit, number_of)


@router.get("/{case}")
def show_case(case: Number, context: Given) -> CaseDetail:
    """A case with its series and its trail."""
    with context.database.read() as session:
        return case_detail(cases.case(session, case))


@router.post("/{case}/accept")
def accept_case(case: Number, body: AcceptOrder, context: Given, actor: Actor) -> CaseDetail:
    """Take a case as a known issue until a date; it comes back if it is still worse then. 409 if it is closed."""
    return _changed(context, case, actor, cases.accept, order=body)


@router.post("/{case}/close")
def close_case(case: Number, body: Because, context: Given, actor: Actor) -> CaseDetail:
    """Close a case; 409 if it is closed."""
    return _changed(context, case, actor, cases.close, reason=body.reason)


@router.post("/{case}/reopen")
def reopen_case(case: Number, body: Because, context: Given, actor: Actor) -> CaseDetail:
    """Open a closed case again; 409 if it is open, or if another open case has one of its series."""
    return _changed(context, case, actor, cases.reopen, reason=body.reason)


@router.post("/{case}/comment")
def comment_case(case: Number, body: Comment, context: Given, actor: Actor) -> CaseDetail:
    """Add a remark to the trail of a case."""
    return _changed(context, case, actor, cases.comment, text=body.text)


def _changed(context: Context, case: int, actor: str, change: Callable[..., object], **said: Any) -> CaseDetail:
    with context.database.write() as session:
        change(session, case, by=actor, now=context.database.now(session), **said)
        return case_detail(cases.case(session, case))
