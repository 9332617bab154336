"""Suites, runs and schedules: from rows to documents."""

from collections.abc import Mapping, Sequence

from sqlalchemy.orm import Session

from api.documents.schedules import FiringView, ScheduleDetail, ScheduleView
from api.documents.suites import AlarmsView, SuiteCellView, SuiteDetail, SuiteRunDetail, SuiteRunView, SuiteView
from orchestrator.model.suite_cells import cells_of
from orchestrator.model.suites import RunPurpose
from orchestrator.storage.tables import SuiteRun
from orchestrator.suites import definitions, noise, runs, schedules
from orchestrator.suites.definitions import AlarmCounts, SuiteFacts
from orchestrator.suites.schedules import ScheduleFacts

FIRINGS = 20
"""Latest firings of a schedule that are shown with it."""


def run_views(session: Session, found: Sequence[SuiteRun]) -> tuple[SuiteRunView, ...]:
    """Runs with their progress."""
    counted = runs.progress(session, [run.id for run in found])
    return tuple(SuiteRunView.model_validate(_run_fields(run, counted)) for run in found)


def run_view(session: Session, run: SuiteRun) -> SuiteRunView:
    """A run with its progress."""
    return run_views(session, [run])[0]


def run_detail(session: Session, run: SuiteRun) -> SuiteRunDetail:
    """A run with its cells."""
    cells = (run.report or {}).get("cells", {})
    reports = tuple(SuiteCellView.model_validate({"cell": key, **told}) for key, told in cells.items())
    fields = _run_fields(run, runs.progress(session, [run.id]))
    ab = run.report if run.purpose == RunPurpose.AB else None
    return SuiteRunDetail.model_validate({**fields, "cell_reports": reports, "ab": ab})


def suite_views(session: Session, found: Sequence[SuiteFacts]) -> tuple[SuiteView, ...]:
    """Suites as lists show them."""
    return tuple(SuiteView.model_validate(_suite_fields(session, facts)) for facts in found)


def suite_detail(session: Session, facts: SuiteFacts) -> SuiteDetail:
    """A suite with its document, cells, versions, rate of false alarms and schedules."""
    suite = facts.suite
    more = {
        "document": suite.document,
        "cell_keys": tuple(cell.key for cell in cells_of(definitions.document_of(suite.document))),
        "versions": tuple(definitions.versions(session, suite.name)),
        "alarms": _alarms(definitions.alarm_counts(session, suite.name)),
        "against_itself": _alarms(definitions.alarm_counts(session, suite.name, RunPurpose.AA)),
        "floors": noise.floors_of(session, suite.name),
        "schedules": tuple(schedules.names_of_suite(session, suite.name)),
    }
    return SuiteDetail.model_validate({**_suite_fields(session, facts), **more})


def schedule_view(session: Session, facts: ScheduleFacts) -> ScheduleView:
    """A schedule as it stands."""
    return ScheduleView.model_validate(_schedule_fields(session, facts))


def schedule_detail(session: Session, facts: ScheduleFacts) -> ScheduleDetail:
    """A schedule with its latest firings."""
    latest = schedules.firings(session, facts.schedule.name, limit=FIRINGS)
    firings = tuple(FiringView.model_validate(each) for each in latest)
    return ScheduleDetail.model_validate({**_schedule_fields(session, facts), "firings": firings})


def _run_fields(run: SuiteRun, counted: Mapping[int, tuple[int, int]]) -> dict[str, object]:
    done, every = counted.get(run.id, (0, 0))
    plain = [name for name in SuiteRunView.model_fields if name not in ("jobs", "jobs_ended")]
    return {**{name: getattr(run, name) for name in plain}, "jobs": every, "jobs_ended": done}


def _suite_fields(session: Session, facts: SuiteFacts) -> dict[str, object]:
    suite = facts.suite
    plain = ("name", "project", "digest", "created_by", "created_at", "verdict", "verdict_at")
    latest = {"last": facts.last, "running": facts.running}
    shown = {name: None if run is None else run_view(session, run) for name, run in latest.items()}
    return {**{name: getattr(suite, name) for name in plain}, "missing_since": facts.missing_since, **shown}


def _schedule_fields(session: Session, facts: ScheduleFacts) -> dict[str, object]:
    plain = {name: getattr(facts.schedule, name) for name in ScheduleView.model_fields if hasattr(facts.schedule, name)}
    last = None if facts.last is None else FiringView.model_validate(facts.last)
    last_run = None if facts.last_run is None else run_view(session, facts.last_run)
    return {**plain, "next_times": facts.next_times, "last": last, "last_run": last_run, "problem": facts.problem}


def _alarms(counts: AlarmCounts) -> AlarmsView:
    rate = counts.false_alarms / counts.cells if counts.cells else None
    return AlarmsView(
        runs=counts.runs, cells=counts.cells, alarms=counts.alarms, false_alarms=counts.false_alarms, rate=rate
    )
