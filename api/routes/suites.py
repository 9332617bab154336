"""Suites: apply, list, show, run, remove; their runs with verdict and report."""

from typing import Annotated

from fastapi import APIRouter, Body, Query, Request, Response

from api.access import Actor, GuardedRoute, Once
from api.context import Context, Given
from api.documents import examples
from api.documents.base import Page
from api.documents.suites import GridRowView, SuiteDetail, SuiteGridView, SuiteRunDetail, SuiteRunView, SuiteView
from api.http.replay import note_replay, replays
from api.parameters import Cursor, FreeText, Integer, Limit, Number, ThingName, first_position, number_of, page
from api.views.suite_junit import suite_junit
from api.views.suites import run_detail, run_view, run_views, suite_detail, suite_views
from orchestrator.errors import BadRequest, IllegalTransition
from orchestrator.model.suites import RunPurpose, SuiteDocument, SuiteRunRequest
from orchestrator.suites import definitions, grid, runs
from orchestrator.suites.runs import RunOrigin

router = APIRouter(tags=["suites"], route_class=GuardedRoute)

GridRuns = Annotated[Integer, Query(ge=1, le=50, description="Runs of one grid.")]


@router.put("/suites/{suite}")
def apply_suite(
    suite: ThingName,
    body: Annotated[SuiteDocument, Body(openapi_examples=examples.SUITE)],
    context: Given,
    actor: Actor,
) -> SuiteDetail:
    """Make this the present version of a suite. Everything that it names must exist; files are stored by digest."""
    if body.name != suite:
        raise BadRequest(f"the document is of suite {body.name}, but the address names {suite}", field="name")
    context.suites.apply(body, by=actor)
    return _detail(context, suite)


@router.get("/suites")
def list_suites(context: Given) -> Page[SuiteView]:
    """All suites by name, with the verdict of each."""
    with context.database.read() as session:
        return Page(items=suite_views(session, definitions.suites(session, context.database.now(session))))


@router.get("/suites/{suite}")
def show_suite(suite: ThingName, context: Given) -> SuiteDetail:
    """A suite with its document, its cells, its versions, and how often its alarms were false."""
    return _detail(context, suite)


@router.delete("/suites/{suite}", status_code=204)
def remove_suite(suite: ThingName, context: Given, actor: Actor) -> None:
    """Remove a suite. Its versions, runs and baselines stay."""
    with context.database.write() as session:
        definitions.remove(session, suite, by=actor, now=context.database.now(session))


@router.post("/suites/{suite}/runs", status_code=201, responses=replays(SuiteRunView))
def start_suite(
    suite: ThingName,
    context: Given,
    request: Request,
    response: Response,
    once: Once,
    actor: Actor,
    body: SuiteRunRequest | None = None,
) -> SuiteRunView:
    """Submit all jobs of a suite, at its low priority. The run is judged when they have ended."""
    purpose = RunPurpose(body.purpose) if body is not None else RunPurpose.MEASURE
    made = context.suite_runs.start(suite, RunOrigin(actor, purpose=purpose), idempotency=once)
    assert made.batch is not None
    note_replay(made, response)
    with context.database.read() as session:
        run = runs.run_of_batch(session, made.batch)
        response.headers["Location"] = request.app.url_path_for("show_suite_run", run=run.id)
        return run_view(session, run)


@router.get("/suites/{suite}/runs")
def list_suite_runs(
    suite: ThingName, context: Given, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[SuiteRunView]:
    """Runs of a suite, newest first; also of one that was removed."""
    before = first_position(cursor)
    with context.database.read() as session:
        found = runs.suite_runs(session, suite, limit=limit + 1, before=before)
        return page(run_views(session, found), limit, number_of)


@router.get("/suites/{suite}/grid")
def show_grid(suite: ThingName, context: Given, limit: GridRuns = 20, q: FreeText | None = None) -> SuiteGridView:
    """The latest runs of a suite as case × run, with verdict and score of each; `q` is a part of the key of a case."""
    with context.database.read() as session:
        found = grid.grid(session, suite, limit=limit, part=q)
        rows = tuple(GridRowView.model_validate(row) for row in found.rows)
        return SuiteGridView(runs=run_views(session, found.runs), rows=rows, more_cells=found.more_cells)


@router.get("/suite-runs/{run}")
def show_suite_run(run: Number, context: Given) -> SuiteRunDetail:
    """A run; once it has ended, every cell with its verdict and the numbers that it stands on."""
    with context.database.read() as session:
        return run_detail(session, runs.suite_run(session, run))


@router.get(
    "/suite-runs/{run}/junit",
    response_class=Response,
    responses={200: {"content": {"application/xml": {"schema": {"type": "string"}}}}},
)
def show_suite_junit(run: Number, context: Given) -> Response:
    """A judged run as JUnit XML: worse is a failure, what could not be judged an error. 409 until it is judged."""
    with context.database.read() as session:
        found = run_detail(session, runs.suite_run(session, run))
    if found.cells is None:
        state = "is not judged yet; wait for it" if found.ended_at is None else f"was not judged: {found.why}"
        raise IllegalTransition(f"run {run} {state}", run=run)
    return Response(suite_junit(found), media_type="application/xml")


def _detail(context: Context, suite: str) -> SuiteDetail:
    with context.database.read() as session:
        return suite_detail(session, definitions.suite_facts(session, suite, context.database.now(session)))
