"""Cases: regressions to decide about, and one with its series, its trail and what may be ordered of it."""

from datetime import UTC, date, datetime, time
from typing import Annotated, Any

from fastapi import Query, Request, Response

from api.access import Actor
from api.context import Given
from api.pages.groups import listing
from api.pages.guard import Fields, checked, one, pages
from api.pages.rendering import render, render_live
from api.pages.viewer import Viewer, viewer_of
from api.parameters import Cursor, NameFilter, Number
from api.routes import cases
from orchestrator.errors import NotFound
from orchestrator.model.baselines import Because
from orchestrator.model.cases import AcceptOrder, CaseState, Comment

router = pages()

ROWS = 50
SERIES_SHOWN = 100
ENTRIES_SHOWN = 100


@router.get("/cases")
def list_cases(
    context: Given,
    request: Request,
    state: Annotated[list[CaseState], Query()] = [],  # noqa: B006  # FastAPI copies defaults
    suite: NameFilter | None = None,
    closed: bool = False,
    cursor: Cursor | None = None,
) -> Response:
    """Cases that are open, newest first."""
    found = cases.list_cases(context, state=state, suite=suite, closed=closed, limit=ROWS, cursor=cursor)
    values: dict[str, Any] = {
        "cases": found.items,
        "states": [str(each) for each in CaseState],
        **listing(request, "/cases", found.next),
    }
    return render_live(request, "cases", **values)


@router.get("/cases/{case}")
def show_case(case: Number, context: Given, request: Request) -> Response:
    """One case."""
    found = cases.show_case(case, context)
    values: dict[str, Any] = {
        "case": found,
        "series": found.series[:SERIES_SHOWN],
        "more_series": len(found.series) - len(found.series[:SERIES_SHOWN]),
        "entries": found.entries[-ENTRIES_SHOWN:],
        "is_open": found.state is not CaseState.CLOSED,
        "today": datetime.now(viewer_of(request).zone or UTC).date().isoformat(),
    }
    return render_live(request, "case", **values)


@router.post("/cases/{case}/orders", openapi_extra={"x-scope": "submitter"})
def order_case(case: Number, context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """Accept, close, open again, or add a note."""
    action, reason = one(fields, "action"), one(fields, "reason")
    match action:
        case "accept":
            until = _end_of(one(fields, "until"), viewer_of(request))
            order = checked(AcceptOrder, until=until, reason=reason, link=one(fields, "link"))
            changed = cases.accept_case(case, order, context, actor)
        case "close":
            changed = cases.close_case(case, checked(Because, reason=reason), context, actor)
        case "reopen":
            changed = cases.reopen_case(case, checked(Because, reason=reason), context, actor)
        case "comment":
            changed = cases.comment_case(case, checked(Comment, text=reason), context, actor)
        case _:
            raise NotFound(f"there is no order {action} for cases")
    return render(request, "changed_case.html", case=changed)


def _end_of(day: str | None, viewer: Viewer) -> datetime | str | None:
    """The end of that day where the viewer is; what is no day is refused with the document."""
    try:
        return datetime.combine(date.fromisoformat(day or ""), time(23, 59, 59), viewer.zone or UTC)
    except ValueError:
        return day
