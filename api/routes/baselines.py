"""Baselines: list, show, set or accept a shift, retire."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response

from api.access import Actor, GuardedRoute
from api.context import Given
from api.documents import examples
from api.documents.base import Page
from api.documents.baselines import BaselineDetail, BaselineView
from api.parameters import Cursor, Limit, NameFilter, Number, first_position, number_of, page
from api.views.baselines import baseline_detail, baseline_view
from orchestrator.model.baselines import BaselineOrder, Because, CellKey
from orchestrator.suites import baselines

router = APIRouter(prefix="/baselines", tags=["baselines"], route_class=GuardedRoute)


@router.post("", status_code=201)
def set_baseline(
    body: Annotated[BaselineOrder, Body(openapi_examples=examples.BASELINE)],
    context: Given,
    actor: Actor,
    request: Request,
    response: Response,
) -> BaselineDetail:
    """Copy the results of these jobs in as the baseline of a cell. With `replaces`, a shift is accepted: the baseline
    in force ends, and the jobs have to be later than its own. 409 if one is in force that the order does not name; 422
    lists the jobs that did not succeed, have not ended or are in doubt."""
    with context.database.write() as session:
        context.database.serialise(session, "baselines")
        made = baselines.order(session, body, by=actor, now=context.database.now(session))
        detail = baseline_detail(baselines.baseline(session, made.id))
    response.headers["Location"] = request.app.url_path_for("show_baseline", baseline=made.id)
    return detail


@router.get("")
def list_baselines(
    context: Given,
    suite: NameFilter | None = None,
    cell: CellKey | None = None,
    ended: Annotated[bool, Query(description="Also those that are no longer in force.")] = False,
    limit: Limit = 100,
    cursor: Cursor | None = None,
) -> Page[BaselineView]:
    """Baselines that are in force, newest first."""
    before = first_position(cursor)
    with context.database.read() as session:
        found = baselines.baselines(session, limit=limit + 1, before=before, suite=suite, cell=cell, ended=ended)
        views = [baseline_view(facts) for facts in found]
    return page(views, limit, number_of)


@router.get("/{baseline}")
def show_baseline(baseline: Number, context: Given) -> BaselineDetail:
    """One baseline with what was copied in; also one that has ended."""
    with context.database.read() as session:
        return baseline_detail(baselines.baseline(session, baseline))


@router.post("/{baseline}/retire")
def retire_baseline(baseline: Number, body: Because, context: Given, actor: Actor) -> BaselineView:
    """End a baseline without another one; 409 if it has ended."""
    with context.database.write() as session:
        context.database.serialise(session, "baselines")
        baselines.retire(session, baseline, by=actor, reason=body.reason, now=context.database.now(session))
        return baseline_view(baselines.baseline(session, baseline))
