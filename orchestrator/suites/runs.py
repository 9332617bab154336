"""Runs of suites: started as a batch of ordinary jobs, given more jobs while they are judged, listed, cancelled."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, cast

from sqlalchemy import CursorResult, insert, select, update
from sqlalchemy.orm import Session

from orchestrator.errors import NotFound
from orchestrator.jobs import admission, orders
from orchestrator.model.batches import StopOn
from orchestrator.model.orders import Action, Order
from orchestrator.model.specs import JobRequest
from orchestrator.model.states import FINAL
from orchestrator.model.suite_cells import PlannedJobs, cells_of, plan
from orchestrator.model.suites import JobRole, RunPurpose, SuiteDocument
from orchestrator.model.verdicts import Verdict
from orchestrator.settings import Settings
from orchestrator.storage import events
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Batch, Job, SuiteJob, SuiteRun
from orchestrator.submission import rows
from orchestrator.submission.drafts import Draft, Drafting
from orchestrator.submission.idempotency import Idempotency, Made
from orchestrator.submission.steps import Steps
from orchestrator.suites.definitions import document_of, looked_up, suite_named
from orchestrator.suites.noise import side_of_repeat


@dataclass(frozen=True)
class RunOrigin:
    """Who or what starts a run."""

    by: str
    """The name of a token, or `schedule NAME`."""
    schedule: str | None = None
    due_at: datetime | None = None
    purpose: RunPurpose = RunPurpose.MEASURE


Beside = Callable[[Session, SuiteRun, datetime], None]
"""Written in the transaction that starts a run; what it raises leaves nothing of the run."""


@dataclass(frozen=True)
class More:
    """A further job of a run."""

    cell: str
    role: JobRole
    draft: Draft


class SuiteRuns:
    """Starts runs and gives them more jobs."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._store = store
        self._steps = Steps(settings, database, store)

    def start(
        self, name: str, origin: RunOrigin, *, idempotency: Idempotency | None = None, beside: Beside | None = None
    ) -> Made:
        """Submit all jobs of a run, or none; `batch` of what is made is that of the run.

        NotFound without the suite; BadSpec names the field of the suite whose model, release or file is gone."""
        if (made := self._steps.made_before(idempotency)) is not None:
            return made
        with self._database.read() as session:
            document = document_of(suite_named(session, name).document)
        version = document.digest
        if origin.purpose is RunPurpose.AA:
            document = document.model_copy(update={"repeats": 2 * document.most_runs})
        planned = plan(document, cells_of(document))
        drafts = self._drafts(document, planned)
        return self._steps.write(idempotency, partial(self._write, document, version, planned, drafts, origin, beside))

    def drafted(self, request: JobRequest) -> Draft:
        """The draft of one further job; BadSpec if it can no longer be submitted."""
        return self._steps.drafts({"": request})[0]

    def give(self, run_id: int, seen: int, more: Sequence[More], report: dict[str, Any]) -> bool:
        """Submit further jobs of a run as a batch of their own, with what is known so far; False, and nothing done, if
        another process did so since `seen` rounds, or the run has ended."""
        with self._database.admission() as (session, now):
            changed = _only_if(session, run_id, seen, round=seen + 1, report=report)
            if changed:
                run = session.get_one(SuiteRun, run_id)
                name = f"{(run.suite or '')[:80]}-{run_id}-{seen + 1}"
                by = run.started_by
                batch = new_batch(session, name, more[0].draft.job["project"], len(more), now, by=by)
                drafts = [each.draft for each in more]
                numbers = rows.write(session, drafts, now=now, by=by, batch_id=batch.id)
                note_jobs(session, run_id, zip(numbers, more, strict=True))
                admission.admit_new(session, self._store, numbers, now=now)
                roles = sorted({str(each.role) for each in more})
                events.record(session, "suite.more_jobs", now, run=run_id, jobs=len(more), roles=roles)
            return changed

    def _drafts(self, document: SuiteDocument, planned: PlannedJobs) -> list[Draft]:
        def check(_: Session, drafting: Drafting) -> list[Draft]:
            return [drafting.draft(request, str(number)) for number, request in enumerate(planned.requests.values())]

        cells = list(planned.cells.values())
        found = looked_up(self._steps, document, planned.requests, cells, check)
        return [draft.called(name) for name, draft in zip(planned.requests, found, strict=True)]

    def _write(
        self, document: SuiteDocument, version: str, planned: PlannedJobs, drafts: Sequence[Draft], origin: RunOrigin,
        beside: Beside | None, session: Session, now: datetime,
    ) -> Made:  # fmt: skip
        suite = suite_named(session, document.name)
        batch = new_batch(session, suite.name, document.project, len(drafts), now, by=origin.by)
        run = SuiteRun(
            suite=suite.name, digest=version, purpose=origin.purpose, batch_id=batch.id,
            schedule=origin.schedule, due_at=origin.due_at, started_by=origin.by, created_at=now,
        )  # fmt: skip
        session.add(run)
        session.flush()
        numbers = _written(session, drafts, now=now, by=origin.by, batch_id=batch.id)
        measured = [
            (numbers[name], More(cell, _role(origin.purpose, name), draft))
            for name, draft in zip(planned.requests, drafts, strict=True)
            if (cell := planned.measured.get(name)) is not None
        ]
        note_jobs(session, run.id, measured)
        admission.admit_new(session, self._store, list(numbers.values()), now=now)
        events.record(
            session, "suite.started", now, suite=suite.name, run=run.id, batch=batch.id, by=origin.by,
            schedule=origin.schedule,
        )  # fmt: skip
        if beside is not None:
            beside(session, run, now)
        return Made(tuple(numbers.values()), batch=batch.id)


def _role(purpose: RunPurpose, name: str) -> JobRole:
    """What an inference is for; its name ends with the number of its repeat."""
    return side_of_repeat(int(name.rpartition(".")[2]) - 1) if purpose is RunPurpose.AA else JobRole.MEASURE


def _written(session: Session, drafts: Sequence[Draft], *, now: datetime, by: str, batch_id: int) -> dict[str, int]:
    """The numbers of the jobs by name; each is written after those that it needs: builds one by one, inferences
    together."""
    numbers: dict[str, int] = {}
    builds = [draft for draft in drafts if draft.job["kind"] != "infer"]
    rest = [draft for draft in drafts if draft.job["kind"] == "infer"]
    for some in [*([build] for build in builds), rest]:
        made = rows.write(session, some, now=now, by=by, siblings=dict(numbers), batch_id=batch_id)
        numbers |= zip((draft.job["name"] for draft in some), made, strict=True)
    return numbers


def new_batch(session: Session, name: str, project: str, size: int, now: datetime, *, by: str) -> Batch:
    """A batch whose jobs are written in this transaction."""
    batch = Batch(
        name=name, project=project, submitted_by=by, stop_on=StopOn.NEVER, size=size, left_out={}, created_at=now,
        touched_at=now, sealed_at=now,
    )  # fmt: skip
    session.add(batch)
    session.flush()
    events.record(session, "batch.created", now, batch=batch.id, name=name, size=size, by=by)
    return batch


def note_jobs(session: Session, run_id: int, jobs: Iterable[tuple[int, More]]) -> None:
    """Note jobs, by number, as those whose results the run judges."""
    made = [
        {"run_id": run_id, "job_id": job_id, "cell": each.cell, "role": str(each.role)} for job_id, each in jobs
    ]  # fmt: skip
    session.execute(insert(SuiteJob), made)


def _only_if(session: Session, run_id: int, seen: int, **change: Any) -> bool:
    """Change a run unless it has ended, or was given jobs since."""
    unchanged = update(SuiteRun).where(SuiteRun.id == run_id, SuiteRun.round == seen, SuiteRun.ended_at.is_(None))
    return cast("CursorResult[Any]", session.execute(unchanged.values(**change))).rowcount == 1


def end(session: Session, run_id: int, seen: int, *, now: datetime, **told: Any) -> bool:
    """Write the verdict of a run; False if another process has done so, or has given it more jobs."""
    return _only_if(session, run_id, seen, ended_at=now, **told)


def cancel(session: Session, run_id: int, *, by: str | None, why: str, now: datetime) -> None:
    """End a run without judging it, and cancel its jobs; called under the admission lock. Nothing if it has ended."""
    run = session.get_one(SuiteRun, run_id, populate_existing=True)
    if not end(session, run_id, run.round, now=now, verdict=Verdict.MISSING, why=why):
        return
    of_run = Job.id.in_(select(SuiteJob.job_id).where(SuiteJob.run_id == run_id)) | (Job.batch_id == run.batch_id)
    jobs = session.scalars(select(Job.id).where(of_run, Job.state.not_in(FINAL)).order_by(Job.id)).all()
    orders.carry_out_all(session, jobs, Order(Action.CANCEL, by, why), now=now)
    events.record(session, "suite.cancelled", now, suite=run.suite, run=run_id, by=by, why=why)


# ── what there is ─────────────────────────────────────────────────────────────────────────────────────────────────────


def run_of_batch(session: Session, batch_id: int) -> SuiteRun:
    """The run whose first jobs are that batch."""
    return session.scalars(select(SuiteRun).where(SuiteRun.batch_id == batch_id)).one()


def suite_run(session: Session, run_id: int, *, suite: str | None = None) -> SuiteRun:
    """A run; NotFound without it, or if it is not of that suite."""
    run = session.get(SuiteRun, run_id)
    if run is None or suite not in (None, run.suite):
        raise NotFound(f"there is no run {run_id}{f' of suite {suite}' if suite else ''}", run=run_id)
    return run


def latest_judged(session: Session, suite: str) -> SuiteRun | None:
    """The latest run of a suite that was judged against its baselines; None before the first."""
    of_suite = select(SuiteRun).where(SuiteRun.suite == suite, SuiteRun.purpose == RunPurpose.MEASURE)
    return session.scalars(of_suite.where(SuiteRun.cells.is_not(None)).order_by(SuiteRun.id.desc()).limit(1)).first()


def unended(session: Session, suite: str) -> list[int]:
    """Runs of a suite that have not ended."""
    found = select(SuiteRun.id).where(SuiteRun.suite == suite, SuiteRun.ended_at.is_(None))
    return list(session.scalars(found.order_by(SuiteRun.id)))


def suite_runs(session: Session, suite: str, *, limit: int, before: int | None = None) -> Sequence[SuiteRun]:
    """Runs of a suite, newest first."""
    found = select(SuiteRun).where(SuiteRun.suite == suite).order_by(SuiteRun.id.desc()).limit(limit)
    return session.scalars(found if before is None else found.where(SuiteRun.id < before)).all()


@dataclass(frozen=True)
class JobOfRun:
    """A job whose results a run judges."""

    job: Job
    cell: str
    role: JobRole


def jobs_of_run(session: Session, run_id: int) -> list[JobOfRun]:
    """The judged jobs of a run, oldest first."""
    found = select(Job, SuiteJob.cell, SuiteJob.role).join(SuiteJob, SuiteJob.job_id == Job.id)
    rows_found = session.execute(found.where(SuiteJob.run_id == run_id).order_by(Job.id))
    return [JobOfRun(job, cell, JobRole(role)) for job, cell, role in rows_found]


def progress(session: Session, runs: Sequence[int]) -> Mapping[int, tuple[int, int]]:
    """Of each run: how many of its judged jobs have ended, and how many there are."""
    counted: dict[int, tuple[int, int]] = {}
    states = select(SuiteJob.run_id, Job.state).join(Job, Job.id == SuiteJob.job_id).where(SuiteJob.run_id.in_(runs))
    for run_id, state in session.execute(states):
        done, every = counted.get(run_id, (0, 0))
        counted[run_id] = (done + (state in FINAL), every + 1)
    return counted
