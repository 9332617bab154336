"""Schedules: set, list, show, pause, resume, remove; run the suite of one now."""

from fastapi import APIRouter, Request, Response

from api.access import Actor, GuardedRoute, Once
from api.context import Context, Given
from api.documents.base import Page
from api.documents.schedules import ScheduleDetail, ScheduleView
from api.documents.suites import SuiteRunView
from api.http.replay import note_replay, replays
from api.parameters import ThingName
from api.views.suites import run_view, schedule_detail, schedule_view
from orchestrator.model.schedules import ScheduleDocument
from orchestrator.model.suites import RunPurpose
from orchestrator.suites import runs, schedules
from orchestrator.suites.runs import RunOrigin

router = APIRouter(prefix="/schedules", tags=["schedules"], route_class=GuardedRoute)


@router.get("")
def list_schedules(context: Given) -> Page[ScheduleView]:
    """All schedules by name, each with its next times and its last outcome."""
    with context.database.read() as session:
        found = schedules.schedules(session, context.database.now(session))
        return Page(items=tuple(schedule_view(session, facts) for facts in found))


@router.get("/{schedule}")
def show_schedule(schedule: ThingName, context: Given) -> ScheduleDetail:
    """A schedule with its latest firings."""
    return _detail(context, schedule)


@router.put("/{schedule}")
def set_schedule(schedule: ThingName, body: ScheduleDocument, context: Given, actor: Actor) -> ScheduleDetail:
    """Make or change a schedule. Due times before now are not made up for."""
    with context.database.write() as session:
        context.database.serialise(session, "registry")
        schedules.set_schedule(session, schedule, body, by=actor, now=context.database.now(session))
    return _detail(context, schedule)


@router.post("/{schedule}/pause")
def pause_schedule(schedule: ThingName, context: Given, actor: Actor) -> ScheduleDetail:
    """Fire it no more until it is resumed."""
    with context.database.write() as session:
        schedules.pause(session, schedule, by=actor, now=context.database.now(session))
    return _detail(context, schedule)


@router.post("/{schedule}/resume")
def resume_schedule(schedule: ThingName, context: Given, actor: Actor) -> ScheduleDetail:
    """Fire it again. What was due while it was paused is not made up for."""
    with context.database.write() as session:
        schedules.resume(session, schedule, by=actor, now=context.database.now(session))
    return _detail(context, schedule)


@router.post("/{schedule}/run", status_code=201, responses=replays(SuiteRunView))
def run_schedule(
    schedule: ThingName, context: Given, request: Request, response: Response, once: Once, actor: Actor
) -> SuiteRunView:
    """Run the suite of a schedule now, whether it is paused or not."""
    with context.database.read() as session:
        row = schedules.schedule_named(session, schedule)
    origin = RunOrigin(actor, schedule, purpose=RunPurpose(row.purpose))
    made = context.suite_runs.start(row.suite, origin, idempotency=once)
    assert made.batch is not None
    note_replay(made, response)
    with context.database.read() as session:
        run = runs.run_of_batch(session, made.batch)
        response.headers["Location"] = request.app.url_path_for("show_suite_run", run=run.id)
        return run_view(session, run)


@router.delete("/{schedule}", status_code=204)
def remove_schedule(schedule: ThingName, context: Given, actor: Actor) -> None:
    """Remove a schedule. A run that it has started goes on."""
    with context.database.write() as session:
        schedules.remove(session, schedule, by=actor, now=context.database.now(session))


def _detail(context: Context, schedule: str) -> ScheduleDetail:
    with context.database.read() as session:
        now = context.database.now(session)
        return schedule_detail(session, schedules.schedule_facts(session, schedule, now))
