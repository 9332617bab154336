"""The latest runs of a suite side by side: case × run, each with its verdict and a score.

All functions read in the caller's session and change nothing.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.model.suites import CellOutcome
from orchestrator.model.verdicts import GRAVEST_FIRST, Verdict
from orchestrator.results.regressions import ANSWERS
from orchestrator.storage.tables import Attempt, Metric, SuiteJob, SuiteRun
from orchestrator.suites import definitions, runs

MOST_CELLS = 600
"""Of one grid: 30 cases in 20 runs."""


@dataclass(frozen=True)
class GridCell:
    """A case in one run that was judged."""

    verdict: Verdict
    outcome: CellOutcome
    why: str
    unchanged: int | None
    """Answers that are those of the baseline, of `compared`; None without a comparison of answers."""
    compared: int | None
    metric: str | None
    """The judged metric that differs most from the baseline."""
    relative: float | None
    """Its difference, as a share of the baseline."""


@dataclass(frozen=True)
class GridRow:
    """A case over the runs; None where it was not judged."""

    cell: str
    metrics: Sequence[str]
    """What the newest judged run has of it: names of metrics, and `answers`; each is a series."""
    cells: Sequence[GridCell | None]


@dataclass(frozen=True)
class Grid:
    """Runs, newest first, and cases, the worst of the newest judged run first."""

    runs: Sequence[SuiteRun]
    rows: Sequence[GridRow]
    more_cells: int


def grid(session: Session, suite: str, *, limit: int, part: str | None = None) -> Grid:
    """The latest `limit` runs of a suite, and cases whose key contains `part`; NotFound without suite and runs."""
    found = runs.suite_runs(session, suite, limit=limit)
    if not found:
        definitions.suite_named(session, suite)
    reports = [(run.report or {}).get("cells", {}) for run in found]
    keys = {key for report in reports for key in report if part is None or part.lower() in key.lower()}
    measured = _measured(session, found)
    rows = [_row(key, reports, measured.get(key, [])) for key in keys]
    rows.sort(key=_worst_first)
    most = max(1, MOST_CELLS // max(1, len(found)))
    return Grid(found, rows[:most], max(0, len(rows) - most))


def _measured(session: Session, found: Sequence[SuiteRun]) -> dict[str, list[str]]:
    """What the newest judged run has measured of each case."""
    newest = next((run.id for run in found if run.cells is not None), None)
    names = select(SuiteJob.cell, Metric.name).join(Attempt, Attempt.job_id == SuiteJob.job_id)
    names = names.join(Metric, Metric.attempt_id == Attempt.id).where(SuiteJob.run_id == newest)
    measured = defaultdict[str, list[str]](list)
    for cell, name in session.execute(names.distinct().order_by(SuiteJob.cell, Metric.name)):
        measured[cell].append(name)
    return measured


def _row(key: str, reports: Sequence[Mapping[str, Any]], measured: Sequence[str]) -> GridRow:
    told = [report.get(key) for report in reports]
    answered = any(((each or {}).get("comparison") or {}).get("answers") for each in told)
    names = [*([ANSWERS] if answered else []), *measured]
    return GridRow(key, names, [None if each is None else _cell(each) for each in told])


def _cell(told: Mapping[str, Any]) -> GridCell:
    comparison = told.get("comparison") or {}
    pairs = (comparison.get("answers") or {}).get("pairs") or {}
    judged = [each for each in comparison.get("metrics", ()) if each.get("threshold") and each["relative"] is not None]
    most: Mapping[str, Any] = max(judged, key=lambda each: abs(each["relative"]), default={})
    compared = pairs.get("pairs")
    return GridCell(
        Verdict(told["verdict"]), CellOutcome(told["outcome"]), told["why"],
        None if compared is None else compared - pairs["changed"], compared, most.get("metric"), most.get("relative"),
    )  # fmt: skip


def _worst_first(row: GridRow) -> tuple[int, str]:
    latest = next((cell for cell in row.cells if cell is not None), None)
    return (len(GRAVEST_FIRST) if latest is None else GRAVEST_FIRST.index(latest.verdict)), row.cell
