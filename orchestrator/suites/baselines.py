"""Baselines of cells: set, replaced and retired by people with a reason, never changed, and read for judging.

Measurements and answers are copied in, so that a baseline does not depend on what becomes of its jobs. Whether it is in
doubt is not copied: it is as soon as one of its runs is (`orchestrator.slots.doubt`), and until that is lifted.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, exists, select, union, update
from sqlalchemy.orm import Session

from orchestrator.comparisons.runs import Run, read_runs
from orchestrator.comparisons.sides import side_of
from orchestrator.errors import AlreadyExists, BadRequest, IllegalTransition, NotFound
from orchestrator.model.baselines import BaselineOrder
from orchestrator.model.states import JobState
from orchestrator.model.suites import JobRole
from orchestrator.results.sides import AnswerOf, Rules, Side, differing
from orchestrator.storage.events import record
from orchestrator.storage.tables import Artifact, Attempt, Baseline, BaselineRun, Doubt, JobInput, SuiteJob, SuiteRun

FIRST_ROLES = (JobRole.MEASURE, JobRole.REPEAT)
"""Jobs of a suite run that measure a cell; those that confirm are a second measurement."""


@dataclass(frozen=True)
class BaselineFacts:
    """A baseline, the jobs it was made of, and those of them whose results are in doubt, with the reason."""

    baseline: Baseline
    jobs: tuple[int, ...]
    doubtful: Mapping[int, str]


# ── orders of people ──────────────────────────────────────────────────────────────────────────────────────────────────


def order(session: Session, wanted: BaselineOrder, *, by: str, now: datetime) -> Baseline:
    """Make the results of some jobs the baseline of a cell. The caller serialises these orders.

    AlreadyExists if one is in force and the order does not name it in `replaces`; IllegalTransition if the one named is
    not in force; NotFound if the run has not measured the cell; BadRequest if the jobs are not later than its own, or
    cannot be a baseline (`set_baseline`)."""
    jobs = wanted.jobs if wanted.run is None else _measured(session, wanted.run, wanted.suite, wanted.cell)
    present = session.scalar(select(Baseline).where(_in_force(wanted.suite), Baseline.cell == wanted.cell))
    if wanted.replaces is None and present is not None:
        raise AlreadyExists(
            f"baseline {present.id} is in force for this cell: accept a shift (replaces {present.id}: "
            f"tx81 baselines accept {present.id}), or "
            f"retire it (tx81 baselines retire {present.id})",
            field="replaces",
        )
    if wanted.replaces is not None:
        if present is None or present.id != wanted.replaces:
            state = "none is" if present is None else f"{present.id} is"
            raise IllegalTransition(f"baseline {wanted.replaces} is not in force for this cell; {state}")
        last = max(_jobs_of(session, [present.id])[present.id])
        if min(jobs) <= last:
            raise BadRequest(f"a shift is accepted from a later run: jobs after {last}", field="jobs")
    side = side_of(session, wanted.cell, jobs)
    return set_baseline(session, wanted.suite, wanted.cell, side, jobs, by=by, reason=wanted.reason, now=now)


def set_baseline(
    session: Session, suite: str, cell: str, side: Side, jobs: Collection[int], *, by: str, reason: str, now: datetime
) -> Baseline:  # fmt: skip
    """Copy these measurements and answers in as the baseline of a cell; one in force ends with the same reason.

    `side` is that of `jobs`. BadRequest lists the jobs that did not succeed, have not ended or are in doubt, and
    refuses jobs without results, and jobs that differ in more than their place."""
    runs = read_runs(session, jobs)
    _require_usable(jobs, runs)
    if not side.samples and not side.answers:
        raise BadRequest("these jobs have neither metrics nor answers: nothing could be held to them", field="jobs")
    if apart := [each.field for each in differing(side, side, Rules()) if not each.allowed]:
        raise BadRequest(f"these jobs are not one measurement: they differ in {', '.join(apart)}", field="jobs")
    ended = {"until": now, "ended_by": by, "ended_reason": reason}
    before = session.scalar(select(Baseline.id).where(_in_force(suite), Baseline.cell == cell))
    session.execute(update(Baseline).where(Baseline.id == before).values(ended))
    made = Baseline(
        suite=suite, cell=cell, settings={"runs": [dict(each) for each in side.settings]},
        samples={name: list(filter(math.isfinite, values)) for name, values in side.samples.items()},
        definitions={name: list(said) for name, said in side.definitions.items()},
        answers={"given": [asdict(answer) for answer in side.answers]}, author=by, reason=reason, since=now,
    )  # fmt: skip
    session.add(made)
    session.flush()
    session.add_all(BaselineRun(baseline_id=made.id, attempt_id=run.attempt_id, job_id=run.job_id) for run in runs)
    about = {"suite": suite, "cell": cell, "by": by, "why": reason, "jobs": sorted(jobs)}
    record(session, "baseline.set", now, baseline=made.id, replaces=before, **about)
    return made


def retire(session: Session, baseline_id: int, *, by: str, reason: str, now: datetime) -> Baseline:
    """End a baseline without another one; NotFound without it, IllegalTransition if it has ended."""
    row = session.get(Baseline, baseline_id, with_for_update={"key_share": True}, populate_existing=True)
    if row is None:
        raise NotFound(f"there is no baseline {baseline_id}; see: tx81 baselines", baseline=baseline_id)
    if row.until is not None:
        raise IllegalTransition(f"baseline {baseline_id} has ended already, by {row.ended_by}", baseline=baseline_id)
    row.until, row.ended_by, row.ended_reason = now, by, reason
    session.flush()
    about = {"suite": row.suite, "cell": row.cell, "by": by, "why": reason}
    record(session, "baseline.retired", now, baseline=row.id, **about)
    return row


# ── what judging reads ────────────────────────────────────────────────────────────────────────────────────────────────


def current(session: Session, suite: str, cells: Collection[str] | None = None) -> dict[str, Baseline]:
    """The baselines of a suite that are in force and not in doubt, by cell; with `cells` only theirs."""
    found = select(Baseline).where(_in_force(suite), ~_in_doubt())
    found = found if cells is None else found.where(Baseline.cell.in_(cells))
    return {row.cell: row for row in session.scalars(found)}


def doubtful(session: Session, suite: str) -> dict[str, int]:
    """The numbers of the baselines of a suite that are in force and in doubt, by cell."""
    found = select(Baseline.cell, Baseline.id).where(_in_force(suite), _in_doubt())
    return {row.cell: row.id for row in session.execute(found)}


def as_side(baseline: Baseline) -> Side:
    """A baseline as a side of a comparison."""
    return Side(
        f"baseline {baseline.id}",
        settings=tuple(baseline.settings["runs"]),
        samples={name: tuple(values) for name, values in baseline.samples.items()},
        definitions={name: (said[0], said[1]) for name, said in baseline.definitions.items()},
        answers=tuple(AnswerOf(**answer) for answer in baseline.answers["given"]),
    )


def kept_digests(session: Session) -> frozenset[str]:
    """Digests of all that the runs of any baseline, ended ones too, consumed and made, and of their logs: what
    `ArtifactStore.collect_garbage` must be given among what is reachable."""
    named = select(BaselineRun.job_id)
    found: Any = union(
        select(Artifact.digest).where(Artifact.job_id.in_(named)),
        select(JobInput.digest).where(JobInput.job_id.in_(named), JobInput.digest.is_not(None)),
        select(Attempt.log_digest).where(
            Attempt.id.in_(select(BaselineRun.attempt_id)), Attempt.log_digest.is_not(None)
        ),
    )
    return frozenset(session.scalars(found))


# ── what there is ─────────────────────────────────────────────────────────────────────────────────────────────────────


def baseline(session: Session, baseline_id: int) -> BaselineFacts:
    """One baseline; NotFound if there is none."""
    row = session.get(Baseline, baseline_id)
    if row is None:
        raise NotFound(f"there is no baseline {baseline_id}; see: tx81 baselines", baseline=baseline_id)
    return _with_facts(session, [row])[0]


def baselines(
    session: Session, *, limit: int, before: int | None = None, suite: str | None = None, cell: str | None = None,
    ended: bool = False,
) -> list[BaselineFacts]:  # fmt: skip
    """Baselines with numbers below `before`, newest first; with `ended` those too that are no longer in force."""
    found = select(Baseline).order_by(Baseline.id.desc()).limit(limit)
    found = found if ended else found.where(Baseline.until.is_(None))
    found = found if before is None else found.where(Baseline.id < before)
    found = found if suite is None else found.where(Baseline.suite == suite)
    found = found if cell is None else found.where(Baseline.cell == cell)
    return _with_facts(session, session.scalars(found).all())


def _with_facts(session: Session, rows: Sequence[Baseline]) -> list[BaselineFacts]:
    numbers = [row.id for row in rows]
    jobs = _jobs_of(session, numbers)
    counted = select(BaselineRun.baseline_id, BaselineRun.job_id, Doubt.reason)
    counted = counted.join(Doubt, Doubt.attempt_id == BaselineRun.attempt_id).where(Doubt.lifted.is_(None))
    doubted: dict[int, dict[int, str]] = {number: {} for number in numbers}
    for number, job, reason in session.execute(counted.where(BaselineRun.baseline_id.in_(numbers)).order_by(Doubt.id)):
        doubted[number][job] = reason
    return [BaselineFacts(row, jobs[row.id], doubted[row.id]) for row in rows]


def _jobs_of(session: Session, numbers: Collection[int]) -> dict[int, tuple[int, ...]]:
    found = select(BaselineRun.baseline_id, BaselineRun.job_id).where(BaselineRun.baseline_id.in_(numbers))
    jobs: dict[int, tuple[int, ...]] = dict.fromkeys(numbers, ())
    for number, job in session.execute(found.order_by(BaselineRun.job_id)):
        jobs[number] = (*jobs[number], job)
    return jobs


def _measured(session: Session, run: int, suite: str, cell: str) -> tuple[int, ...]:
    """Jobs by which a run measured a cell, without those that measured it a second time."""
    found = select(SuiteJob.job_id).join(SuiteRun, SuiteRun.id == SuiteJob.run_id)
    found = found.where(SuiteRun.id == run, SuiteRun.suite == suite, SuiteJob.cell == cell)
    jobs = session.scalars(found.where(SuiteJob.role.in_(FIRST_ROLES)).order_by(SuiteJob.job_id)).all()
    if not jobs:
        raise NotFound(f"run {run} of suite {suite} has not measured {cell}; see: tx81 suites runs {suite}", run=run)
    return tuple(jobs)


def _in_force(suite: str) -> ColumnElement[bool]:
    return (Baseline.suite == suite) & Baseline.until.is_(None)


def _in_doubt() -> ColumnElement[bool]:
    return (
        exists()
        .where(BaselineRun.baseline_id == Baseline.id)
        .where(Doubt.attempt_id == BaselineRun.attempt_id, Doubt.lifted.is_(None))
    )


def _require_usable(jobs: Collection[int], runs: Iterable[Run]) -> None:
    """BadRequest with every job that cannot be part of a baseline, and why."""
    known = {run.job_id: run for run in runs}
    bad = {job: why for job in sorted(jobs) if (why := _why_not(known.get(job))) is not None}
    if bad:
        told = ", ".join(f"job {job} {why}" for job, why in bad.items())
        raise BadRequest(f"a baseline is made of jobs that have succeeded and are not in doubt: {told}", field="jobs")


def _why_not(run: Run | None) -> str | None:
    if run is None:
        return "does not exist"
    if run.state is not JobState.SUCCEEDED:
        return f"is {run.state}"
    if run.attempt_id is None:
        return "was not run: its result is another job's"
    return None if run.doubt is None else f"is in doubt ({run.doubt})"
