"""A/B runs: two inferences side by side in one reservation of a card group."""

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from api.access import Actor, GuardedRoute, Once, needs
from api.context import Given
from api.documents import examples
from api.documents.suites import SuiteRunDetail
from api.http.replay import note_replay, replays
from api.views.suites import run_detail
from orchestrator.model.ab import AbRequest
from orchestrator.model.scopes import Scope
from orchestrator.suites import runs

router = APIRouter(prefix="/ab-runs", tags=["suites"], route_class=GuardedRoute)


@router.post("", status_code=201, responses=replays(SuiteRunDetail), openapi_extra=needs(Scope.OPERATOR))
def start_ab(
    body: Annotated[AbRequest, Body(openapi_examples=examples.AB)],
    context: Given,
    request: Request,
    response: Response,
    once: Once,
    actor: Actor,
) -> SuiteRunDetail:
    """Reserve the card group and submit all runs of both sides, in an order that takes a drift out."""
    made = context.ab_runs.start(body, by=actor, idempotency=once)
    assert made.batch is not None
    note_replay(made, response)
    with context.database.read() as session:
        run = runs.run_of_batch(session, made.batch)
        response.headers["Location"] = request.app.url_path_for("show_suite_run", run=run.id)
        return run_detail(session, run)
