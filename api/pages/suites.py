"""Suites: the list with schedules, one as case × run, and one run with the numbers behind each verdict."""

from typing import Annotated, Any

from fastapi import Query, Request, Response
from pydantic import BaseModel

from api.access import Actor
from api.context import Given
from api.pages.guard import Fields, checked, one, pages
from api.pages.rendering import render, render_live
from api.parameters import FreeText, Integer, Number, ThingName
from api.routes import schedules, suites
from orchestrator.errors import NotFound
from orchestrator.model.suites import SuiteRunRequest

router = pages()

RUNS = 12
CELLS_SHOWN = 100

SCHEDULE_ORDERS = {"pause": schedules.pause_schedule, "resume": schedules.resume_schedule}


@router.get("/suites")
def list_suites(context: Given, request: Request) -> Response:
    """All suites with the last verdict of each, and all schedules."""
    planned = schedules.list_schedules(context).items
    values: dict[str, Any] = {
        "suites": suites.list_suites(context).items,
        "schedules": planned,
        "of_suite": {name: [each for each in planned if each.suite == name] for name in {p.suite for p in planned}},
    }
    return render_live(request, "suites", **values)


@router.get("/suites/{suite}")
def show_suite(
    suite: ThingName,
    context: Given,
    request: Request,
    runs: Annotated[Integer, Query(ge=1, le=50)] = RUNS,
    q: FreeText | None = None,
) -> Response:
    """One suite: its latest runs as case × run."""
    detail = suites.show_suite(suite, context)
    values: dict[str, Any] = {
        "suite": detail,
        "grid": suites.show_grid(suite, context, limit=runs, q=q),
        "schedules": [schedules.show_schedule(name, context) for name in detail.schedules[:10]],
        "asked": dict(request.query_params),
    }
    return render_live(request, "suite", **values)


@router.get("/suite-runs/{run}")
def show_suite_run(run: Number, context: Given, request: Request) -> Response:
    """One run: every case with its verdict and the numbers that it stands on."""
    found = suites.show_suite_run(run, context)
    cells = found.cell_reports[:CELLS_SHOWN]
    more = len(found.cell_reports) - len(cells)
    return render_live(request, "suite_run", run=found, cells=cells, more_cells=more)


@router.post("/suites/{suite}/runs", openapi_extra={"x-scope": "submitter"})
def start_suite(suite: ThingName, context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """Run a suite now."""
    body = checked(SuiteRunRequest, purpose=one(fields, "purpose") or "measure")
    run = suites.start_suite(suite, context, request, Response(), None, actor, body)
    return render(request, "started_run.html", run=run)


@router.post("/schedules/{schedule}/orders", openapi_extra={"x-scope": "submitter"})
def order_schedule(schedule: ThingName, context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """Pause a schedule, resume it, or run its suite now."""
    action = checked(_Chosen, action=one(fields, "action")).action
    if action == "run":
        run = schedules.run_schedule(schedule, context, request, Response(), None, actor)
        return render(request, "started_run.html", run=run)
    if action not in SCHEDULE_ORDERS:
        raise NotFound(f"there is no order {action} for schedules")
    changed = SCHEDULE_ORDERS[action](schedule, context, actor)
    return render(request, "changed_schedule.html", schedule=changed)


class _Chosen(BaseModel):
    """The action that a form names."""

    action: str
