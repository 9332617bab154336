"""Suites as they are applied: checked against what exists, stored with every file by digest, one version a change."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orchestrator.errors import BadSpec, IllegalTransition, NotFound, OrchestratorError
from orchestrator.model.specs import JobRequest
from orchestrator.model.suite_cells import Cell, cells_of, field_of, plan
from orchestrator.model.suites import RunPurpose, SuiteDocument
from orchestrator.results.cells import problem_of
from orchestrator.settings import Settings
from orchestrator.storage import events
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact, Document, Schedule, Suite, SuiteRun, SuiteVersion
from orchestrator.submission import rows
from orchestrator.submission.drafts import Draft, Drafting
from orchestrator.submission.steps import Steps

T = TypeVar("T")

LATEST_RUNS = 100
"""Number of latest runs over which the rate of false alarms is counted."""


class Definitions:
    """Applies suites."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._steps = Steps(settings, database, store)

    def apply(self, document: SuiteDocument, *, by: str) -> Suite:
        """Make this the present version of its suite; what equals the present version changes nothing.

        BadSpec or PathRefused names the field at fault: of the first job that could not be submitted, or of a rule that
        can never speak. Files named by a path are stored now, so that every run asks the same."""
        if (problem := problem_of(document)) is not None:
            raise BadSpec(problem[1], field=problem[0])
        drafts, fixed = self._checked(document)
        with self._database.write() as session:
            self._database.serialise(session, "registry")
            rows.name_files(session, drafts)
            return _stored(session, fixed, by=by, now=self._database.now(session))

    def _checked(self, document: SuiteDocument) -> tuple[list[Draft], SuiteDocument]:
        once = document.model_copy(update={"repeats": 1})
        cells = cells_of(document)
        plan(document, cells)  # with all repeats: refused if these are too many jobs
        planned = plan(once, cells)

        def check(session: Session, drafting: Drafting) -> tuple[list[Draft], SuiteDocument]:
            places = enumerate(planned.requests.values())
            drafts = [drafting.draft(request, str(number)) for number, request in places]
            owned = list(zip(planned.cells.values(), drafts, strict=True))
            return drafts, _with_digests(session, document, owned)

        return looked_up(self._steps, document, planned.requests, list(planned.cells.values()), check)


def looked_up(
    steps: Steps, document: SuiteDocument, requests: Mapping[str, JobRequest], cells: Sequence[Cell],
    check: Callable[[Session, Drafting], T],
) -> T:  # fmt: skip
    """What `check` makes of the drafts of a suite's jobs; a refusal names the field of the suite."""
    places = {str(number): request for number, request in enumerate(requests.values())}
    try:
        return steps.look_up(places, check, siblings=requests)
    except OrchestratorError as trouble:
        number, _, field = (trouble.field or "").partition(".")
        trouble.field = field_of(document, cells[int(number)], field) if number.isdecimal() else trouble.field
        raise


def _with_digests(session: Session, document: SuiteDocument, owned: list[tuple[Cell, Draft]]) -> SuiteDocument:
    """The suite with every file by digest."""
    fixed = document.normalised()
    for cell, draft in owned:
        if draft.job["kind"] != "infer":
            continue
        prompts = fixed["matrix"]["prompts"][str(cell.get("prompts"))]
        for wired in draft.inputs:
            name = wired["name"]
            if name in prompts:
                prompts[name] = {"digest": _digest(session, wired, f"matrix.prompts.{cell.get('prompts')}.{name}")}
            elif fixed["template"].get(name) is not None:
                fixed["template"][name] = {"digest": _digest(session, wired, f"template.{name}")}
    return SuiteDocument.model_validate(fixed)


def _digest(session: Session, wired: Document, field: str) -> str:
    made = select(Artifact.digest).where(
        Artifact.job_id == wired["from_job_id"], Artifact.name == wired["from_artifact"]
    )
    digest = wired["digest"] or session.scalar(made.order_by(Artifact.id.desc()).limit(1))
    if digest is None:
        source = f"job {wired['from_job_id']} has not made its {wired['from_artifact']} yet"
        raise BadSpec(f"{source}; wait for it", field=field)
    return str(digest)


def _stored(session: Session, document: SuiteDocument, *, by: str, now: datetime) -> Suite:
    suite = session.get(Suite, document.name)
    if suite is not None and suite.removed_at is None and suite.digest == document.digest:
        return suite
    told = document.normalised()
    if session.get(SuiteVersion, document.digest) is None:
        session.add(
            SuiteVersion(digest=document.digest, name=document.name, document=told, created_by=by, created_at=now)
        )
    suite = suite or Suite(name=document.name)
    suite.digest, suite.document, suite.project = document.digest, told, document.project
    suite.created_by, suite.created_at, suite.removed_at = by, now, None
    session.add(suite)
    session.flush()
    events.record(session, "suite.applied", now, suite=suite.name, digest=suite.digest, by=by)
    return suite


def remove(session: Session, name: str, *, by: str, now: datetime) -> None:
    """Remove a suite; its versions, runs and baselines stay. NotFound without such a suite.

    IllegalTransition while a schedule that is not paused names it."""
    suite = suite_named(session, name)
    using = session.scalars(select(Schedule.name).where(Schedule.suite == name, ~Schedule.paused)).all()
    if using:
        first = sorted(using)[0]
        raise IllegalTransition(f"schedule {first} runs it: tx81 schedules remove {first}", schedule=first)
    suite.removed_at = now
    session.flush()
    events.record(session, "suite.removed", now, suite=name, by=by)


def document_of(stored: Document) -> SuiteDocument:
    """A stored document; BadSpec if this version of the software no longer takes it."""
    try:
        return SuiteDocument.model_validate(stored)
    except ValidationError as trouble:
        why = trouble.errors()[0]["msg"]
        raise BadSpec(f"the stored suite {stored.get('name')} is no longer valid: {why}; apply it again") from None


@dataclass(frozen=True)
class SuiteFacts:
    """A suite as it stands."""

    suite: Suite
    running: SuiteRun | None
    """The latest run that has not ended."""
    last: SuiteRun | None
    """The latest that was judged against the baselines."""
    missing_since: datetime | None
    """Since when it should have been judged again; None if it was, or if nothing says how often."""


def suites(session: Session, now: datetime) -> list[SuiteFacts]:
    """All suites by name, without those that were removed."""
    found = session.scalars(select(Suite).where(Suite.removed_at.is_(None)).order_by(Suite.name)).all()
    return _facts(session, found, now)


def suite_facts(session: Session, name: str, now: datetime) -> SuiteFacts:
    """One suite as it stands; NotFound without it."""
    return _facts(session, [suite_named(session, name)], now)[0]


def suite_named(session: Session, name: str) -> Suite:
    """A suite; NotFound if there is none of that name, or it was removed."""
    suite = session.get(Suite, name)
    if suite is None:
        raise NotFound(f"there is no suite {name}; see: tx81 suites list", suite=name)
    if suite.removed_at is not None:
        raise NotFound(f"suite {name} was removed at {suite.removed_at:%Y-%m-%d %H:%M} UTC; apply it again", suite=name)
    return suite


def versions(session: Session, name: str) -> Sequence[SuiteVersion]:
    """All versions of a suite, newest first."""
    found = select(SuiteVersion).where(SuiteVersion.name == name)
    return session.scalars(found.order_by(SuiteVersion.created_at.desc(), SuiteVersion.digest)).all()


@dataclass(frozen=True)
class AlarmCounts:
    """Over the latest runs: cells judged, alarms, and false ones among them."""

    runs: int
    cells: int
    alarms: int
    false_alarms: int


def alarm_counts(session: Session, name: str, purpose: RunPurpose = RunPurpose.MEASURE) -> AlarmCounts:
    """How often a suite has raised an alarm, and how often it was false, over the latest `LATEST_RUNS` runs of that
    purpose; in A/A runs every one is false."""
    counted = (SuiteRun.cells, SuiteRun.alarms, SuiteRun.false_alarms)
    latest = select(*counted).where(SuiteRun.suite == name, SuiteRun.cells.is_not(None), SuiteRun.purpose == purpose)
    rows = session.execute(latest.order_by(SuiteRun.id.desc()).limit(LATEST_RUNS)).all()
    return AlarmCounts(len(rows), *(sum(row[at] or 0 for row in rows) for at in range(3)))


def _facts(session: Session, found: Sequence[Suite], now: datetime) -> list[SuiteFacts]:
    names = [suite.name for suite in found]
    ages = max_ages(session, found)
    running = _latest(session, names, SuiteRun.ended_at.is_(None))
    last = _latest(session, names, SuiteRun.cells.is_not(None), SuiteRun.purpose == RunPurpose.MEASURE)
    return [
        SuiteFacts(
            suite, running.get(suite.name), last.get(suite.name),
            missing_since(suite, last.get(suite.name), ages.get(suite.name), now),
        )
        for suite in found
    ]  # fmt: skip


def max_ages(session: Session, found: Sequence[Suite]) -> dict[str, int]:
    """By suite: the longest time in seconds in which it must be judged again, as itself or a schedule says."""
    ages = {suite.name: suite.document.get("max_age_seconds") for suite in found}
    told = select(Schedule.suite, func.min(Schedule.max_age_seconds)).where(~Schedule.paused).group_by(Schedule.suite)
    for name, seconds in session.execute(told):
        if name in ages and seconds is not None:
            ages[name] = min(seconds, ages[name] or seconds)
    return {name: seconds for name, seconds in ages.items() if seconds is not None}


def missing_since(suite: Suite, last: SuiteRun | None, age: int | None, now: datetime) -> datetime | None:
    """Since when a suite should have been judged again."""
    if age is None:
        return None
    judged = last.ended_at if last is not None and last.ended_at is not None else suite.created_at
    due = datetime.fromtimestamp(judged.timestamp() + age, judged.tzinfo)
    return due if now > due else None


def _latest(session: Session, names: Sequence[str], *which: Any) -> dict[str, SuiteRun]:
    latest = select(func.max(SuiteRun.id)).where(SuiteRun.suite.in_(names), *which).group_by(SuiteRun.suite)
    found = session.scalars(select(SuiteRun).where(SuiteRun.id.in_(latest)))
    return {run.suite: run for run in found if run.suite is not None}
