"""From a request to waiting jobs: everything that can be checked is checked before a row is written.

Files are read and stored before the transaction; rows, cache look-ups and the idempotency record are one transaction,
so a submission is there whole or not at all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

from sqlalchemy.orm import Session

from orchestrator import admission, lifecycle
from orchestrator.drafting import Drafting, note_files
from orchestrator.errors import BadSpec, IdempotencyMismatch, IllegalTransition, NotFound, OrchestratorError
from orchestrator.intake import Intake, TakenIn
from orchestrator.model.specs import JobOutput, JobRequest, PipelineRequest, inputs_of
from orchestrator.model.states import FINAL
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import IdempotencyRecord, Job, Pipeline

T = TypeVar("T")


@dataclass(frozen=True)
class Idempotency:
    """A client's key, and a digest of all that it was sent with."""

    token_id: int
    key: str
    fingerprint: str


@dataclass(frozen=True)
class Made:
    """What a submission made; `replayed` if an earlier one with the same key made it."""

    jobs: tuple[int, ...]
    pipeline: int | None = None
    batch: int | None = None
    replayed: bool = False


@dataclass(frozen=True)
class _Entry:
    """One job on its way in: its request, the name of its place in the document, its files."""

    request: JobRequest
    field: str
    files: Mapping[str, TakenIn]


class Submission:
    """Turns requests into jobs."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._store = store
        self._intake = Intake(settings, store)

    def job(self, request: JobRequest, idempotency: Idempotency | None = None) -> Made:
        """Submit one job."""
        return self._once(idempotency, lambda: [self._entry(request, "")], self._create_all)

    def jobs(self, requests: Sequence[JobRequest], idempotency: Idempotency | None = None) -> Made:
        """Submit many unconnected jobs, all or none."""

        def checked() -> list[_Entry]:
            return [self._entry(request, f"jobs.{index}") for index, request in enumerate(requests)]

        return self._once(idempotency, checked, self._create_all)

    def pipeline(self, request: PipelineRequest, idempotency: Idempotency | None = None) -> Made:
        """Submit named jobs that may use each other's outputs, all or none."""

        def checked() -> dict[str, _Entry]:
            return {name: self._entry(request.jobs[name], f"jobs.{name}") for name in submission_order(request)}

        return self._once(idempotency, checked, partial(self._create_pipeline, request))

    def retry(self, job_id: int, idempotency: Idempotency | None = None) -> Made:
        """Submit a finished job's request again, as a new job."""

        def again(_checked: None, session: Session, now: datetime) -> Made:
            job = session.get(Job, job_id)
            if job is None:
                raise NotFound(f"there is no job {job_id}", job=job_id)
            if job.state not in FINAL:
                raise IllegalTransition(f"job {job_id} is {job.state}; cancel it first", job=job_id, state=job.state)
            entry = _Entry(JobRequest.model_validate(job.request), "", {})
            return self._create_all([entry], session, now)

        return self._once(idempotency, lambda: None, again)

    def _entry(self, request: JobRequest, field: str) -> _Entry:
        try:
            return _Entry(request, field, self._intake.files_of(request.spec))
        except OrchestratorError as trouble:
            raise _placed(trouble, field) from None

    def _once(
        self, idempotency: Idempotency | None, check: Callable[[], T], make: Callable[[T, Session, datetime], Made]
    ) -> Made:
        """Check, then make in one transaction; a key that was used before is answered with what it made then."""
        with self._database.read() as session:
            # Before the check: the files that were named then may be gone by now.
            if (made := earlier(session, idempotency)) is not None:
                return made
        checked = check()
        with self._database.write() as session:
            self._database.serialise(session, "admission")
            # And again: the same key may have been sent twice at once.
            if (made := earlier(session, idempotency)) is not None:
                return made
            now = self._database.now(session)
            made = make(checked, session, now)
            remember(session, idempotency, made, now)
            return made

    def _create_all(self, entries: Sequence[_Entry], session: Session, now: datetime) -> Made:
        jobs = [self._create(session, entry, now, siblings={}) for entry in entries]
        return Made(tuple(job.id for job in jobs))

    def _create_pipeline(
        self, request: PipelineRequest, entries: Mapping[str, _Entry], session: Session, now: datetime
    ) -> Made:
        pipeline = Pipeline(name=request.name, project=request.project, created_at=now)
        session.add(pipeline)
        session.flush()
        siblings: dict[str, Job] = {}
        for name, entry in entries.items():
            siblings[name] = self._create(session, entry, now, siblings=siblings, name=name, pipeline=pipeline)
        return Made(tuple(job.id for job in siblings.values()), pipeline.id)

    def _create(
        self,
        session: Session,
        entry: _Entry,
        now: datetime,
        *,
        siblings: Mapping[str, Job],
        name: str | None = None,
        pipeline: Pipeline | None = None,
    ) -> Job:
        try:
            draft = Drafting(session, self._store).draft(entry.request, entry.files, siblings)
        except OrchestratorError as trouble:
            raise _placed(trouble, entry.field) from None
        note_files(session, entry.files)
        more: dict[str, Any] = {} if name is None else {"name": name}
        if pipeline is not None:
            more |= {"project": pipeline.project, "pipeline_id": pipeline.id}
        job = lifecycle.create(session, draft.row(now, **more), now=now)
        session.add_all(draft.rows_beside(job.id))
        session.flush()
        admission.admit_waiting(session, job, self._store, now=now)
        return job


def submission_order(request: PipelineRequest) -> list[str]:
    """The jobs of a pipeline, each after all it needs; BadSpec names an unknown need or the cycle."""
    graph: dict[str, set[str]] = {}
    for name, job in request.jobs.items():
        sources = {
            f"spec.{field}": source.job
            for field, source in inputs_of(job.spec).items()
            if isinstance(source, JobOutput)
        }
        named = {**{f"needs.{index}": need for index, need in enumerate(job.needs)}, **sources}
        for field, need in named.items():
            if isinstance(need, str) and need not in request.jobs:
                raise BadSpec(f"there is no job {need!r} in this pipeline", field=f"jobs.{name}.{field}")
        graph[name] = {need for need in named.values() if isinstance(need, str)}
    try:
        return list(TopologicalSorter(graph).static_order())
    except CycleError as trouble:
        circle = " → ".join(reversed(trouble.args[1]))
        raise BadSpec(
            f"these jobs need each other in a circle: {circle}", field=f"jobs.{trouble.args[1][0]}.needs"
        ) from None


def _placed(trouble: OrchestratorError, field: str) -> OrchestratorError:
    return trouble.within(field) if field else trouble


def earlier(session: Session, idempotency: Idempotency | None) -> Made | None:
    """What an earlier request with the same key made; IdempotencyMismatch if it was another request."""
    if idempotency is None:
        return None
    record = session.get(IdempotencyRecord, (idempotency.token_id, idempotency.key))
    if record is None:
        return None
    if record.fingerprint != idempotency.fingerprint:
        raise IdempotencyMismatch(
            "this Idempotency-Key was used for another request; use a new key", field="Idempotency-Key"
        )
    return Made(tuple(record.made["jobs"]), record.made["pipeline"], record.made.get("batch"), replayed=True)


def remember(session: Session, idempotency: Idempotency | None, made: Made, now: datetime) -> None:
    """Keep what was made, so that the same key makes nothing more."""
    if idempotency is not None:
        session.add(
            IdempotencyRecord(
                token_id=idempotency.token_id, key=idempotency.key, fingerprint=idempotency.fingerprint,
                made={"jobs": list(made.jobs), "pipeline": made.pipeline, "batch": made.batch}, created_at=now,
            )
        )  # fmt: skip
