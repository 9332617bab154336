"""Runs of suites whose jobs have ended: more repeats, a second measurement of what is worse, or the verdict.

Each step is one transaction that changes the run only if no other process did so first, so that a step may be decided
twice and happens once. Cells are compared a few at a time: the dispatcher places jobs in between.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import exists, select
from sqlalchemy.orm import Session

from orchestrator.comparisons.runs import read_runs
from orchestrator.comparisons.sides import side_of
from orchestrator.errors import OrchestratorError
from orchestrator.model.doubts import DoubtReason
from orchestrator.model.specs import JobRequest
from orchestrator.model.states import FINAL
from orchestrator.model.suites import ALARMS, CellOutcome, JobRole, RunPurpose, SuiteDocument
from orchestrator.model.verdicts import Verdict, overall
from orchestrator.results.cells import (
    CellMeasured,
    Confirm,
    Judged,
    MoreRuns,
    as_document,
    next_step,
    rules_of,
    without_a_rule,
    worst_place,
)
from orchestrator.results.regressions import ANSWERS, finding_of
from orchestrator.results.sides import Comparison, Side, compare
from orchestrator.slots import doubt, service
from orchestrator.storage import events
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Job, Slot, Suite, SuiteJob, SuiteRun, SuiteVersion
from orchestrator.suites import baselines, cases, noise, notifications, runs, side_by_side
from orchestrator.suites.definitions import document_of, max_ages, missing_since
from orchestrator.suites.placing import pinned_to
from orchestrator.suites.references import CellReference, reference_of
from orchestrator.suites.runs import JobOfRun, More, SuiteRuns

CELLS_AT_ONCE = 20
"""Compared in one call; one cell takes some milliseconds."""


@dataclass
class _Case:
    """A cell of a run while it is judged."""

    key: str
    jobs: Mapping[JobRole, Sequence[Job]]
    measured: CellMeasured
    spoiled: bool
    """Every run of it ended by a fault of the infrastructure."""
    baseline: int | None
    place: tuple[str, ...]
    """The slots on which it was worst; empty if it never ran."""
    doubtful: int | None = None
    """The baseline that is not used because it is in doubt."""

    def report(self, step: Judged, remedy: str | None) -> dict[str, Any]:
        """Its entry in the report of the run."""
        parts = {"comparison": self.measured.comparison, "same": self.measured.same, "other": self.measured.other}
        numbers = {str(role): [job.id for job in jobs] for role, jobs in self.jobs.items()}
        told = {"verdict": str(step.verdict), "outcome": str(step.outcome), "why": step.why, "remedy": remedy}
        return {**told, "baseline": self.baseline, "slots": list(self.place), "jobs": numbers, **as_document(parts)}


class Judge:
    """Judges the runs that have ended."""

    def __init__(self, database: Database, suite_runs: SuiteRuns) -> None:
        self._database = database
        self._runs = suite_runs
        self._begun: dict[tuple[int, int], dict[str, _Case]] = {}
        """By run and round: the cells compared so far."""

    def tend(self) -> int:
        """Carry every run whose jobs have ended one step further; returns how many changed."""
        with self._database.read() as session:
            due = [(run.id, run.round) for run in session.scalars(select(SuiteRun).where(*_DUE).order_by(SuiteRun.id))]
        self._begun = {key: cells for key, cells in self._begun.items() if key in due}
        return sum(self._judge(run_id, seen) for run_id, seen in due)

    def _judge(self, run_id: int, seen: int) -> bool:
        with self._database.read() as session:
            run = session.get_one(SuiteRun, run_id)
        try:
            return self._judge_as(run)
        except OrchestratorError as trouble:  # such as more answers than can be compared
            return self._give_up(run, seen, trouble.detail)

    def _judge_as(self, run: SuiteRun) -> bool:
        match RunPurpose(run.purpose):
            case RunPurpose.AA:
                return self._judge_aa(run)
            case RunPurpose.AB:
                return self._judge_ab(run)
            case RunPurpose.MEASURE:
                return self._judge_against_baselines(run)

    def _give_up(self, run: SuiteRun, seen: int, why: str) -> bool:
        """End a run that cannot be judged, so that it is not tried for ever."""
        with self._database.admission() as (session, now):
            ended = runs.end(session, run.id, seen, now=now, verdict=Verdict.UNKNOWN, why=why)
            if ended:
                side_by_side.release(session, run, now=now)
                facts = {"run": run.id, "why": why}
                events.record(session, "suite.judged", now, suite=run.suite, verdict=Verdict.UNKNOWN, **facts)
                if run.suite is not None and run.purpose == RunPurpose.MEASURE:
                    change_verdict(session, run.suite, Verdict.UNKNOWN, facts, now=now)
            return ended

    def _judge_against_baselines(self, run: SuiteRun) -> bool:
        run_id, seen = run.id, run.round
        assert run.suite is not None
        with self._database.read() as session:
            document = document_of(session.get_one(SuiteVersion, run.digest).document)
            jobs = _by_cell(runs.jobs_of_run(session, run_id))
            cells = self._begun.setdefault((run_id, seen), {})
            wanted = [key for key in jobs if key not in cells][:CELLS_AT_ONCE]
            known, doubtful = baselines.current(session, run.suite, wanted), baselines.doubtful(session, run.suite)
            floors = noise.floors_of(session, run.suite)
            issues = cases.known_issues(session, run.suite, now=self._database.now(session))
            for key in wanted:
                reference = reference_of(session, document, key, run, known.get(key))
                cells[key] = _compared(session, document, key, jobs[key], reference, run.report, floors.get(key, {}))
                cells[key].doubtful = doubtful.get(key)
        if len(cells) < len(jobs):
            return False
        steps = {key: next_step(document, cell.measured) for key, cell in cells.items()}
        more, refused = self._further(cells, steps)
        if more:
            places = {key: list(cell.place) for key, cell in cells.items() if isinstance(steps[key], Confirm)}
            known_places = (run.report or {}).get("places", {})
            return self._runs.give(run_id, seen, more, {"places": {**known_places, **places}})
        finals = {key: _final(run, cells[key], step, refused.get(key)) for key, step in steps.items()}
        judged = {key: _unless_known(key, cells[key], step, issues) for key, step in finals.items()}
        return self._end(run, seen, cells, judged)

    def _further(self, cells: Mapping[str, _Case], steps: Mapping[str, Any]) -> tuple[list[More], dict[str, str]]:
        """The jobs that the steps order, and of cells that cannot be measured again, why."""
        more: list[More] = []
        refused: dict[str, str] = {}
        for key, step in steps.items():
            cell = cells[key]
            wanted: list[tuple[JobRole, int]] = []
            if isinstance(step, MoreRuns):
                wanted = [(JobRole.REPEAT, step.count)]
            elif isinstance(step, Confirm):
                wanted = [(JobRole.CONFIRM_SAME, step.count), (JobRole.CONFIRM_OTHER, step.count)]
            for role, count in wanted:
                try:
                    more += self._again(cell, role, count)
                except OrchestratorError as trouble:
                    refused[key] = trouble.detail
        return more, refused

    def _again(self, cell: _Case, role: JobRole, count: int) -> list[More]:
        first = cell.jobs[JobRole.MEASURE][0]
        with self._database.read() as session:
            # Of the release that ran first, also if another one has become the default since.
            asked = JobRequest.model_validate({**first.request, "release": first.release})
            request = pinned_to(session, asked, role, cell.place)
        draft = self._runs.drafted(request)
        base, done = first.name.rpartition(".")[0], sum(map(len, cell.jobs.values()))
        mark = "" if role is JobRole.REPEAT else f".{'same' if role is JobRole.CONFIRM_SAME else 'other'}"
        return [More(cell.key, role, draft.called(f"{base}{mark}.{done + number}")) for number in range(1, count + 1)]

    def _judge_aa(self, run: SuiteRun) -> bool:
        """Store what a run against itself has shown; what it calls worse or better is a false alarm."""
        with self._database.read() as session:
            document = document_of(session.get_one(SuiteVersion, run.digest).document)
            jobs = _by_cell(runs.jobs_of_run(session, run.id))
            found = {key: noise.judge_cell(session, document, key, some) for key, some in jobs.items()}
        judged = {key: step for key, (step, _, _) in found.items()}
        false = sum(step.verdict in (Verdict.WORSE, Verdict.BETTER) for step in judged.values())
        verdict = overall([step.verdict for step in judged.values()])
        report = {
            "cells": {key: told for key, (_, told, _) in found.items()},
            "floors": {key: floors for key, (_, _, floors) in found.items()},
        }
        told = {"verdict": verdict, "why": _why(verdict, judged), "cells": len(judged), "alarms": false}
        with self._database.write() as session:
            now = self._database.now(session)
            ended = runs.end(session, run.id, run.round, now=now, **told, false_alarms=false, report=report)
            if ended:
                events.record(session, "suite.judged", now, suite=run.suite, run=run.id, **told)
            return ended

    def _judge_ab(self, run: SuiteRun) -> bool:
        """Write the verdict of two sides, and give the card group back."""
        with self._database.read() as session:
            told = side_by_side.judge(session, run, runs.jobs_of_run(session, run.id))
        with self._database.admission() as (session, now):
            ended = runs.end(session, run.id, run.round, now=now, **told)
            if ended:
                side_by_side.release(session, run, now=now)
                events.record(session, "ab.judged", now, run=run.id, verdict=told["verdict"], why=told["why"])
            return ended

    def _end(self, run: SuiteRun, seen: int, cells: Mapping[str, _Case], judged: Mapping[str, Judged]) -> bool:
        verdict = overall([step.verdict for step in judged.values()])
        alarms = [step for step in judged.values() if step.outcome in ALARMS]
        false = sum(step.outcome is CellOutcome.NOT_CONFIRMED for step in alarms)
        report = {
            "cells": {key: cells[key].report(step, _remedy(run, cells[key], step)) for key, step in judged.items()}
        }
        told = {
            "verdict": verdict, "why": _why(verdict, judged), "cells": len(judged), "alarms": len(alarms),
            "false_alarms": false, "report": report,
        }  # fmt: skip
        with self._database.admission() as (session, now):
            if not runs.end(session, run.id, seen, now=now, **told):
                return False
            for key, step in judged.items():
                if step.outcome is CellOutcome.CARD:
                    _suspect(session, run, cells[key], step, now)
            facts = {"run": run.id, "why": told["why"], "alarms": len(alarms), "false_alarms": false}
            events.record(session, "suite.judged", now, suite=run.suite, verdict=verdict, **facts)
            change_verdict(session, run.suite or "", verdict, facts, now=now)
            for key, step in judged.items():
                cases.note_outcome(session, run.id, key, step.outcome, comparison=report["cells"][key], now=now)
        return True


_DUE = (
    SuiteRun.ended_at.is_(None),
    ~exists().where(SuiteJob.run_id == SuiteRun.id, SuiteJob.job_id == Job.id, Job.state.not_in(FINAL)),
)


def _by_cell(jobs: Sequence[JobOfRun]) -> dict[str, dict[JobRole, list[Job]]]:
    found: dict[str, dict[JobRole, list[Job]]] = {}
    for each in jobs:
        found.setdefault(each.cell, defaultdict(list))[each.role].append(each.job)
    return found


def _compared(
    session: Session, document: SuiteDocument, key: str, jobs: Mapping[JobRole, Sequence[Job]],
    reference: CellReference | None, report: Mapping[str, Any] | None, floors: Mapping[str, Mapping[str, float]],
) -> _Case:  # fmt: skip
    first = [job.id for role in (JobRole.MEASURE, JobRole.REPEAT) for job in jobs.get(role, ())]
    side = _side(session, document, key, first)
    rules = rules_of(document, noise.floors_at(floors, sorted({"+".join(run["slots"]) for run in side.settings})))
    before = None if reference is None else without_a_rule(document, reference.side)

    def against(role: JobRole) -> Comparison | None:
        numbers = [job.id for job in jobs.get(role, ())]
        if before is None or not numbers:
            return None
        return compare(before, _side(session, document, key, numbers), rules)

    confirming = JobRole.CONFIRM_SAME in jobs or JobRole.CONFIRM_OTHER in jobs
    measured = CellMeasured(
        None if before is None else compare(before, side, rules), len(first), against(JobRole.CONFIRM_SAME),
        against(JobRole.CONFIRM_OTHER), confirming,
    )  # fmt: skip
    place = tuple((report or {}).get("places", {}).get(key, ())) or _place(session, document, before, first)
    spoiled = not side.settings and set(side.left_out) == {"infrastructure"}
    return _Case(key, jobs, measured, spoiled, None if reference is None else reference.baseline, place)


def _side(session: Session, document: SuiteDocument, label: str, jobs: Sequence[int]) -> Side:
    return without_a_rule(document, side_of(session, label, jobs))


def _place(session: Session, document: SuiteDocument, before: Side | None, jobs: Sequence[int]) -> tuple[str, ...]:
    """The slots on which the cell was measured; of several places the worst."""
    places: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for run in read_runs(session, jobs):
        if run.used:
            places[tuple(sorted(run.setting.get("slots", ())))].append(run.job_id)
    if len(places) < 2 or before is None:
        return next(iter(places), ())
    sides = {" ".join(place): _side(session, document, "", numbers) for place, numbers in places.items()}
    return tuple(worst_place(before, sides, rules_of(document, {})).split())


def _final(run: SuiteRun, cell: _Case, step: Any, refused: str | None) -> Judged:
    """The verdict of a cell; one that should have been measured again and cannot be is judged as it is."""
    if isinstance(step, Judged):
        if cell.measured.comparison is None and cell.spoiled:
            why = "every run ended by a fault of the infrastructure"
            return Judged(Verdict.INFRASTRUCTURE, CellOutcome.UNJUDGED, why)
        if cell.measured.comparison is None and cell.doubtful is not None:
            return replace(step, why=f"baseline {cell.doubtful} is in doubt")
        return step
    found = cell.measured.comparison
    assert found is not None
    outcome = CellOutcome.UNDECIDED if found.verdict is Verdict.WORSE else CellOutcome.UNJUDGED
    return Judged(found.verdict, outcome, f"{found.why}; it cannot be measured again: {refused}")


def _unless_known(key: str, cell: _Case, step: Judged, issues: Mapping[tuple[str, str], int]) -> Judged:
    """`known` instead of `worse` if every series of the cell that is worse is accepted as that until a date."""
    if step.verdict is not Verdict.WORSE:
        return step
    series = finding_of({"comparison": as_document(cell.measured.comparison)}, card=False).series
    numbers = sorted({issues[key, name] for name in series if (key, name) in issues})
    if not series or not all((key, name) in issues for name in series):
        return step
    return Judged(Verdict.KNOWN, step.outcome, f"case {', '.join(map(str, numbers))} is known: {step.why}")


def _remedy(run: SuiteRun, cell: _Case, step: Judged) -> str | None:
    """The command that a person types next."""
    measured = f"--run {run.id} --reason TEXT"
    if cell.measured.comparison is None and cell.doubtful is not None:
        return f"tx81 baselines accept {cell.doubtful} {measured}"
    if cell.measured.comparison is None:
        return f"tx81 baselines set {run.suite} {cell.key} {measured}"
    if step.outcome is CellOutcome.CARD:
        return f"tx81 slots show {cell.place[0]}"
    if step.verdict is Verdict.WORSE:
        meant = f"if it is meant: tx81 baselines accept {cell.baseline} {measured}"
        answers = ANSWERS in finding_of({"comparison": as_document(cell.measured.comparison)}, card=False).series
        return f"tx81 triage {cell.jobs[JobRole.MEASURE][0].id}; {meant}" if answers else meant
    return None


def _why(verdict: Verdict, judged: Mapping[str, Judged]) -> str:
    same = [(key, step) for key, step in judged.items() if step.verdict is verdict]
    if not same:
        return "nothing was measured"
    key, step = same[0]
    return f"{key}: {step.why}" + (f"; {len(same) - 1} more cells {verdict}" if len(same) > 1 else "")


def _suspect(session: Session, run: SuiteRun, cell: _Case, step: Judged, now: datetime) -> None:
    """Quarantine the slot on which alone a cell is worse, with the evidence: a canary checks it. If its answers are
    wrong, its other results are in doubt."""
    evidence = {
        "suite": run.suite, "run": run.id, "cell": cell.key, "why": step.why,
        "jobs": [job.id for jobs in cell.jobs.values() for job in jobs],
    }  # fmt: skip
    worker = session.scalar(select(Slot.worker).where(Slot.id == cell.place[0])) if cell.place else None
    if worker is not None:
        reason = f"run {run.id} of suite {run.suite} is worse here and not on another card group"
        service.suspect(
            session, cell.place[0], worker=worker, reason=reason, now=now, others=cell.place[1:], evidence=evidence
        )
    if ANSWERS in finding_of({"comparison": as_document(cell.measured.same)}, card=True).series:
        again = [job.id for job in cell.jobs.get(JobRole.CONFIRM_SAME, ())]
        for slot_id in cell.place:
            doubt.doubt_since_last_proof(
                session, slot_id, DoubtReason.SILENT_CORRUPTION, {**evidence, "reason": step.why}, now, evident=again
            )


def change_verdict(session: Session, name: str, new: Verdict, facts: dict[str, Any], *, now: datetime) -> None:
    """Note the verdict of a suite, and announce it if it is another one than before."""
    suite = session.get(Suite, name, with_for_update=True, populate_existing=True)
    if suite is None or suite.removed_at is not None:
        return
    old, suite.verdict_at = suite.verdict, now
    if old != new:
        suite.verdict = new
        session.flush()
        notifications.announce(session, f"suite {name}", Verdict(old) if old else None, new, facts, now=now)


def note_missing(database: Database) -> int:
    """Announce suites that were not judged within their longest time; returns how many."""
    with database.read() as session:
        now = database.now(session)
        late = _late(session, now)
    for name in late:
        with database.write() as session:
            now = database.now(session)
            if name in _late(session, now):  # it may have been judged meanwhile
                change_verdict(session, name, Verdict.MISSING, {"why": "it was not judged within its max_age"}, now=now)
    return len(late)


def _late(session: Session, now: datetime) -> list[str]:
    found = session.scalars(select(Suite).where(Suite.removed_at.is_(None)).order_by(Suite.name)).all()
    ages = max_ages(session, found)
    due = [suite for suite in found if suite.name in ages and suite.verdict != Verdict.MISSING]
    return [
        suite.name
        for suite in due
        if missing_since(suite, runs.latest_judged(session, suite.name), ages[suite.name], now) is not None
    ]
