"""The history of one series over the runs of its suite: points, changes of level, and what happened meanwhile."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import isfinite
from statistics import median
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orchestrator.errors import NotFound
from orchestrator.model.marks import MarkKind
from orchestrator.model.states import AttemptState, JobState
from orchestrator.model.suites import RunPurpose
from orchestrator.results.history import Segment, segments
from orchestrator.results.regressions import ANSWERS
from orchestrator.storage.tables import (
    Attempt,
    Baseline,
    Case,
    CaseSeries,
    Doubt,
    Event,
    Job,
    Metric,
    Release,
    SuiteJob,
    SuiteRun,
)
from orchestrator.suites.baselines import FIRST_ROLES

MOST_MARKS = 500
"""Marks of one history; the latest."""


@dataclass(frozen=True)
class Point:
    """One run of the suite."""

    run: int
    at: datetime
    value: float
    """Median over the jobs that measured the cell and are not in doubt; of `answers`, how many had changed."""
    count: int
    """Jobs it is the median of; of `answers`, pairs that were compared."""
    outcome: str | None
    """`orchestrator.model.suites.CellOutcome`; None before the run was judged."""


@dataclass(frozen=True)
class Mark:
    """Something that happened and may explain a change."""

    at: datetime
    kind: MarkKind
    what: str


@dataclass(frozen=True)
class History:
    """Points, oldest first; segments count them from 0."""

    unit: str
    points: Sequence[Point]
    segments: Sequence[Segment]
    marks: Sequence[Mark]


def history(session: Session, suite: str, cell: str, metric: str, *, limit: int) -> History:
    """The latest `limit` runs that measured the series; NotFound if none did."""
    unit, points = (
        ("answers", _answers(session, suite, cell, limit))
        if metric == ANSWERS
        else _measured(session, suite, cell, metric, limit)
    )
    if not points:
        raise NotFound(f"no run of suite {suite} has measured {metric} of {cell}; see: tx81 suites show {suite}")
    slots = _slots_of_runs(session, cell, [point.run for point in points])
    marks = _marks(session, suite, cell, metric, slots, points[0])
    return History(unit, points, segments([point.value for point in points]), marks)


def _measured(session: Session, suite: str, cell: str, metric: str, limit: int) -> tuple[str, list[Point]]:
    doubtful = select(Doubt.attempt_id).where(Doubt.lifted.is_(None))
    found = (
        select(SuiteRun.id, SuiteRun.created_at, Metric.value, Metric.unit, _outcome(cell))
        .join(SuiteJob, SuiteJob.run_id == SuiteRun.id)
        .join(Attempt, Attempt.job_id == SuiteJob.job_id)
        .join(Metric, Metric.attempt_id == Attempt.id)
        .where(SuiteRun.id.in_(_runs(suite, cell, limit)), SuiteJob.cell == cell, SuiteJob.role.in_(FIRST_ROLES))
        .where(Attempt.state == AttemptState.SUCCEEDED, Attempt.id.not_in(doubtful), Metric.name == metric)
    )
    values: dict[int, list[float]] = {}
    about: dict[int, tuple[datetime, str | None]] = {}
    unit = ""
    for run, at, value, its_unit, outcome in session.execute(found.order_by(SuiteRun.id, Attempt.id)):
        if isfinite(value):
            values.setdefault(run, []).append(value)
            about[run], unit = (at, outcome), its_unit
    points = [Point(run, about[run][0], median(of), len(of), about[run][1]) for run, of in values.items()]
    return unit, points


def _slots_of_runs(session: Session, cell: str, runs: Collection[int]) -> set[str]:
    """The card groups that measured a cell, also those whose results are in doubt now."""
    found = select(Attempt.slot_ids).join(SuiteJob, SuiteJob.job_id == Attempt.job_id)
    found = found.where(SuiteJob.run_id.in_(runs), SuiteJob.cell == cell, SuiteJob.role.in_(FIRST_ROLES))
    return {slot for where in session.scalars(found) for slot in where}


def _answers(session: Session, suite: str, cell: str, limit: int) -> list[Point]:
    """How many answers were not those of the baseline, as each judged run has counted them."""
    pairs = SuiteRun.report["cells"][cell]["comparison"]["answers"]["pairs"]
    changed, compared = pairs["changed"].as_integer(), pairs["pairs"].as_integer()
    found = select(SuiteRun.id, SuiteRun.created_at, changed, compared, _outcome(cell))
    found = found.where(SuiteRun.id.in_(_runs(suite, cell, limit)), compared > 0).order_by(SuiteRun.id)
    return [Point(run, at, float(count), of, outcome) for run, at, count, of, outcome in session.execute(found)]


def _runs(suite: str, cell: str, limit: int) -> Any:
    has_cell = select(SuiteJob.run_id).where(SuiteJob.cell == cell)
    found = select(SuiteRun.id).where(SuiteRun.suite == suite, SuiteRun.purpose == RunPurpose.MEASURE)
    return found.where(SuiteRun.id.in_(has_cell)).order_by(SuiteRun.id.desc()).limit(limit).scalar_subquery()


def _outcome(cell: str) -> Any:
    return SuiteRun.report["cells"][cell]["outcome"].as_string()


def _marks(session: Session, suite: str, cell: str, metric: str, slots: Collection[str], first: Point) -> list[Mark]:
    since = first.at
    found = [
        *_releases(session, since), *_baselines(session, suite, cell, since),
        *_cases(session, suite, cell, metric, since), *_slots(session, slots, first), *_hosts(session, slots, since),
    ]  # fmt: skip
    return sorted(found, key=lambda mark: (mark.at, mark.kind, mark.what))[-MOST_MARKS:]


def _releases(session: Session, since: datetime) -> Iterable[Mark]:
    rows = select(Release.created_at, Release.name).where(Release.created_at >= since)
    return (Mark(at, MarkKind.RELEASE, f"release {name} registered") for at, name in session.execute(rows))


def _baselines(session: Session, suite: str, cell: str, since: datetime) -> Iterable[Mark]:
    rows = select(Baseline).where(Baseline.suite == suite, Baseline.cell == cell)
    for row in session.scalars(rows):
        if row.since >= since:
            yield Mark(row.since, MarkKind.BASELINE, f"baseline {row.id} set by {row.author}: {row.reason}")
        if row.until is not None and row.until >= since:
            yield Mark(row.until, MarkKind.BASELINE, f"baseline {row.id} ended by {row.ended_by}: {row.ended_reason}")


def _cases(session: Session, suite: str, cell: str, metric: str, since: datetime) -> Iterable[Mark]:
    rows = select(Case).join(CaseSeries, CaseSeries.case_id == Case.id)
    rows = rows.where(CaseSeries.suite == suite, CaseSeries.cell == cell, CaseSeries.metric == metric)
    for row in session.scalars(rows):
        if row.opened_at >= since:
            yield Mark(row.opened_at, MarkKind.CASE, f"case {row.id} opened")
        if row.closed_at is not None and row.closed_at >= since:
            yield Mark(row.closed_at, MarkKind.CASE, f"case {row.id} closed")


_SLOT_EVENTS = ("slot.quarantined", "slot.resumed", "slot.drained", "results.doubted", "doubt.lifted")


def _slots(session: Session, slots: Collection[str], first: Point) -> Iterable[Mark]:
    """What happened to the card groups that measured the series: where cards are swapped, a slot is out of service."""
    # Events have no index on their time: those of the jobs of the first run say where to begin.
    jobs = select(SuiteJob.job_id).where(SuiteJob.run_id == first.run)
    begin = select(func.min(Event.id)).where(Event.job_id.in_(jobs)).scalar_subquery()
    rows = select(Event).where(Event.id > begin, Event.slot_id.in_(slots), Event.kind.in_(_SLOT_EVENTS))
    for row in session.scalars(rows.order_by(Event.id.desc()).limit(MOST_MARKS)):
        why = row.data.get("note") or row.data.get("why") or row.data.get("reason")
        yield Mark(row.at, MarkKind.SLOT, f"{row.slot_id} {row.kind.rpartition('.')[2]}{f': {why}' if why else ''}")


def _hosts(session: Session, slots: Collection[str], since: datetime) -> Iterable[Mark]:
    """Set-ups of their hosts, which bring another driver."""
    hosts = {slot_id.rpartition(".")[0] for slot_id in slots}
    rows = select(Job.ended_at, Job.id, Attempt.slot_id).join(Attempt, Attempt.job_id == Job.id)
    rows = rows.where(Job.kind == "provision", Job.state == JobState.SUCCEEDED, Job.ended_at >= since)
    rows = rows.where(Attempt.state == AttemptState.SUCCEEDED)
    for at, job, slot_id in session.execute(rows):
        if at is not None and (host := slot_id.rpartition(".")[0]) in hosts:
            yield Mark(at, MarkKind.HOST, f"host {host} set up by job {job}")
