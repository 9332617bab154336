"""How suites, their runs and schedules look on a terminal. Pure: it prints nothing."""

from collections.abc import Iterable
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.documents.schedules import FiringView, ScheduleDetail, ScheduleView
from api.documents.suites import SuiteCellView, SuiteDetail, SuiteRunDetail, SuiteRunView, SuiteView
from cli.pages.layout import clean, facts, heading, local_time, row, short, table


def suites_table(suites: Iterable[SuiteView]) -> Table:
    """Suites, one a line, with the verdict of each."""
    shown = table("suite", "project", "verdict", "since", "last run", "running", "why", right={"last run", "running"})
    for suite in suites:
        last, running = suite.last, suite.running
        why = f"not judged since {local_time(suite.missing_since)}" if suite.missing_since else last and last.why
        verdict = "missing" if suite.missing_since else suite.verdict
        since = local_time(suite.verdict_at) if suite.verdict_at else None
        row(shown, suite.name, suite.project, verdict, since, last and last.id, running and running.id, why)
    return shown


def suite_page(suite: SuiteDetail) -> RenderableType:
    """Everything worth knowing of a suite."""
    verdict = "missing" if suite.missing_since else suite.verdict
    alarms = suite.alarms
    told = {
        "project": suite.project,
        "version": f"{short(suite.digest)} by {suite.created_by}, {local_time(suite.created_at)}",
        "versions": len(suite.versions),
        "cells": len(suite.cell_keys),
        "schedules": ", ".join(suite.schedules),
        "missing since": local_time(suite.missing_since) if suite.missing_since else None,
        "last run": f"{suite.last.id}: {suite.last.verdict}, {suite.last.why}" if suite.last else None,
        "running": suite.running and f"{suite.running.id}: {_progress(suite.running)}",
        "alarms": f"{alarms.alarms} of {alarms.cells} cells in {alarms.runs} runs, {alarms.false_alarms} of them false"
        + (f" ({alarms.rate:.1%} of the cells)" if alarms.rate is not None else ""),
    }
    against_itself = suite.against_itself
    if against_itself.cells:
        told["against itself"] = f"{against_itself.false_alarms} of {against_itself.cells} cells differed"
    cells = table("cell", "noise floor")
    for key in suite.cell_keys:
        floors = suite.floors.get(key, {}).get("", {})
        row(cells, key, ", ".join(f"{metric} {floor:.2%}" for metric, floor in floors.items()))
    return Group(heading("suite", suite.name, verdict or "not judged yet"), facts(told), _title("cells"), cells)


def runs_table(runs: Iterable[SuiteRunView]) -> Table:
    """Runs of a suite, one a line."""
    shown = table("run", "suite", "started", "by", "jobs", "verdict", "alarms", "why", right={"run", "jobs", "alarms"})
    for run in runs:
        started = local_time(run.created_at)
        row(shown, run.id, run.suite, started, run.started_by, _progress(run), run.verdict, _alarms(run), run.why)
    return shown


def run_page(run: SuiteRunDetail) -> RenderableType:
    """A run with its cells."""
    told = {
        "suite": run.suite,
        "version": short(run.digest) if run.digest else None,
        "batch": run.batch_id,
        "started": f"{local_time(run.created_at)} by {run.started_by}",
        "ended": local_time(run.ended_at) if run.ended_at else None,
        "jobs": _progress(run),
        "alarms": _alarms(run),
        "why": run.why,
    }
    name = run.suite or "A/B"
    parts: list[RenderableType] = [heading(f"run {run.id}", name, run.verdict or "running"), facts(told)]
    if run.ab is not None:
        parts += _side_by_side(run.ab)
    if run.cell_reports:
        parts += [_title("cells"), _cells(run.cell_reports)]
    return Group(*parts)


def schedules_table(schedules: Iterable[ScheduleView]) -> Table:
    """Schedules, one a line, with the next time and the last outcome of each."""
    shown = table("schedule", "suite", "cron", "zone", "next", "last", "outcome", "problem")
    for schedule in schedules:
        coming = "paused" if schedule.paused else _times(schedule, 1)
        last = local_time(schedule.last.due_at) if schedule.last else None
        cron = (schedule.cron, schedule.zone)
        row(shown, schedule.name, schedule.suite, *cron, coming, last, _outcome(schedule), schedule.problem)
    return shown


def schedule_page(schedule: ScheduleDetail) -> RenderableType:
    """A schedule with its next times and its latest firings."""
    told = {
        "suite": schedule.suite,
        "cron": f"{schedule.cron} ({schedule.zone})",
        "missed": schedule.missed,
        "overlap": schedule.overlap,
        "max age": f"{schedule.max_age_seconds / 3600:g} h" if schedule.max_age_seconds else None,
        "set": f"{local_time(schedule.changed_at)} by {schedule.changed_by}",
        "next": _times(schedule, 5),
        "last outcome": _outcome(schedule),
        "problem": schedule.problem,
    }
    fired = table("due", "outcome", "run", "given up", "why", right={"run", "given up"})
    for each in schedule.firings:
        row(fired, local_time(each.due_at), each.state, each.run_id, each.given_up or None, each.why)
    state = "paused" if schedule.paused else "active"
    parts: list[RenderableType] = [_title("firings"), fired] if schedule.firings else []
    return Group(heading("schedule", schedule.name, state), facts(told), *parts)


def _cells(cells: Iterable[SuiteCellView]) -> Table:
    shown = table("cell", "verdict", "outcome", "slots", "why", "remedy")
    for cell in cells:
        row(shown, cell.cell, cell.verdict, cell.outcome, ", ".join(cell.slots), cell.why, cell.remedy)
    return shown


def _side_by_side(ab: dict[str, Any]) -> list[RenderableType]:
    asked = ab["request"]
    about = {"A": f"job {asked['a']}", "B": f"job {asked['b']}", "card group": ab["slot"]}
    if "metrics" not in ab:
        return [facts(about)]
    about["answers"] = ab["answers"]["why"]
    differing = [each["field"] for each in ab["differences"]]
    about["they differ in"] = ", ".join(differing) or "nothing"
    shown = table("metric", "verdict", "B against A", "95 % interval", "p", "drift a run", "why")
    for each in ab["metrics"]:
        interval = f"{each['low']:+.2%} … {each['high']:+.2%}" if each["low"] is not None else None
        numbers = (_percent(each["relative"]), interval, each["p_value"] and f"{each['p_value']:.2g}")
        row(shown, each["metric"], each["verdict"], *numbers, _percent(each["drift"]), each["why"])
    return [facts(about), _title("metrics"), shown]


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:+.2%}"


def _outcome(schedule: ScheduleView) -> str | None:
    """Of its latest firing, or of a run that was ordered since."""
    run, last = schedule.last_run, schedule.last
    if run is not None and (last is None or last.run_id == run.id or run.created_at > last.at):
        return f"run {run.id}: {run.verdict or 'running'}"
    return _fired(last) if last is not None else None


def _fired(firing: FiringView) -> str:
    return f"{firing.state}: {firing.why}" if firing.why else str(firing.state)


def _times(schedule: ScheduleView, count: int) -> str:
    return ", ".join(local_time(moment) for moment in schedule.next_times[:count])


def _progress(run: SuiteRunView) -> str:
    return f"{run.jobs_ended}/{run.jobs}"


def _alarms(run: SuiteRunView) -> str | None:
    return f"{run.alarms}, {run.false_alarms} false" if run.alarms else None


def _title(text: str) -> Text:
    return Text(f"\n{clean(text)}", style="bold")
