"""A/A runs: a suite measured against itself. What differs there is noise, and what is called worse is a false alarm.

The runs of a cell are dealt to two sides in the order A B B A, so that a drift over time and the change between two
card groups meet both sides alike. The noise floor of a metric is how far the medians of the two sides lie apart,
relative to the first: over all runs of a cell, and on each card group that had runs of both sides.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.comparisons.runs import Run, read_runs
from orchestrator.comparisons.sides import side_of
from orchestrator.model.suites import CellOutcome, JobRole, RunPurpose, SuiteDocument
from orchestrator.model.verdicts import Verdict
from orchestrator.results.cells import Judged, as_document, rules_of, without_a_rule
from orchestrator.results.sides import compare
from orchestrator.storage.tables import Job, SuiteRun

LATEST_RUNS = 10
"""The floor that counts is the median over so many latest A/A runs."""

EVERYWHERE = ""
"""In place of a card group: over all runs of a cell."""

_DEAL = (JobRole.A, JobRole.B, JobRole.B, JobRole.A)

Floors = dict[str, dict[str, dict[str, float]]]
"""Cell → card groups (`lab1.g0`, or `EVERYWHERE`) → metric → relative noise floor."""


def side_of_repeat(number: int) -> JobRole:
    """To which side the repeat of that number, from 0, belongs."""
    return _DEAL[number % len(_DEAL)]


def judge_cell(
    session: Session, document: SuiteDocument, key: str, jobs: Mapping[JobRole, Sequence[Job]]
) -> tuple[Judged, dict[str, Any], dict[str, dict[str, float]]]:
    """The verdict of a cell against itself, its entry in the report, and its noise floors."""
    numbers = {role: [job.id for job in jobs.get(role, ())] for role in (JobRole.A, JobRole.B)}
    sides = {role: without_a_rule(document, side_of(session, role, some)) for role, some in numbers.items()}
    found = compare(sides[JobRole.A], sides[JobRole.B], rules_of(document, {}))
    good = found.verdict in (Verdict.SAME, Verdict.BETTER)
    step = Judged(found.verdict, CellOutcome.GOOD if good else CellOutcome.UNJUDGED, found.why)
    report = {
        "verdict": str(step.verdict), "outcome": str(step.outcome), "why": step.why, "slots": [],
        "jobs": {str(role): some for role, some in numbers.items()}, "comparison": as_document(found),
    }  # fmt: skip
    runs = {role: read_runs(session, some) for role, some in numbers.items()}
    return step, report, _floors(runs, document.gates)


def floors_of(session: Session, suite: str) -> Floors:
    """The noise floors of a suite: of each the median over its latest A/A runs; none before the first."""
    latest = select(SuiteRun.report).where(SuiteRun.suite == suite, SuiteRun.purpose == RunPurpose.AA)
    ended = latest.where(SuiteRun.cells.is_not(None)).order_by(SuiteRun.id.desc()).limit(LATEST_RUNS)
    seen: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for report in session.scalars(ended):
        for cell, places in (report or {}).get("floors", {}).items():
            for place, metrics in places.items():
                for metric, floor in metrics.items():
                    seen[cell, place, metric].append(floor)
    floors: Floors = {}
    for (cell, place, metric), values in sorted(seen.items()):
        floors.setdefault(cell, {}).setdefault(place, {})[metric] = median(values)
    return floors


def floors_at(floors: Mapping[str, Mapping[str, float]], places: Sequence[str]) -> dict[str, float]:
    """Of one cell that was measured on these card groups: the largest floor of each metric."""
    found: dict[str, float] = {}
    for place in (EVERYWHERE, *places):
        for metric, floor in floors.get(place, {}).items():
            found[metric] = max(floor, found.get(metric, 0.0))
    return found


def _floors(runs: Mapping[JobRole, Sequence[Run]], metrics: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    values: dict[tuple[str, str], dict[JobRole, list[float]]] = defaultdict(lambda: defaultdict(list))
    for role, some in runs.items():
        for run in some:
            place = "+".join(sorted(run.setting.get("slots", ())))
            for name in metrics if run.used else ():
                if (metric := run.metrics.get(name)) is not None:
                    for each in (EVERYWHERE, place):
                        values[each, name][role].append(metric.value)
    found: dict[str, dict[str, float]] = {}
    for (place, name), sides in values.items():
        before, after = (median(sides[role]) if sides[role] else 0.0 for role in (JobRole.A, JobRole.B))
        if before and after:
            found.setdefault(place, {})[name] = abs(after / before - 1)
    return found
