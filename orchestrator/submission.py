"""From a request to waiting jobs: everything that can be checked is checked before a row is written.

Files are read and stored before the transaction; rows, cache look-ups and the idempotency record are one transaction,
so a submission is there whole or not at all.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import Any, TypeVar

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator import admission, lifecycle, selectors
from orchestrator.errors import BadSpec, IdempotencyMismatch, IllegalTransition, NotFound, OrchestratorError
from orchestrator.intake import Intake, TakenIn
from orchestrator.model.profile import Profile
from orchestrator.model.specs import (
    PRODUCES,
    FilePath,
    JobOutput,
    JobRequest,
    PipelineRequest,
    StoredArtifact,
    inputs_of,
    profile_kind,
    slot_kind,
)
from orchestrator.model.states import FINAL, JobState
from orchestrator.registry import check_model, release_for
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact, IdempotencyRecord, Job, JobInput, JobNeed, Pipeline, Release

T = TypeVar("T")

LARGEST_NUMBER = 2**63 - 1
"""Of a job; beyond it the databases take no number at all."""


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
            if (earlier := _replay(session, idempotency)) is not None:
                return earlier
        checked = check()
        with self._database.write() as session:
            self._database.serialise(session, "admission")
            # And again: the same key may have been sent twice at once.
            if (earlier := _replay(session, idempotency)) is not None:
                return earlier
            now = self._database.now(session)
            made = make(checked, session, now)
            if idempotency is not None:
                session.add(
                    IdempotencyRecord(
                        token_id=idempotency.token_id, key=idempotency.key, fingerprint=idempotency.fingerprint,
                        made={"jobs": list(made.jobs), "pipeline": made.pipeline}, created_at=now,
                    )
                )  # fmt: skip
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
        request = entry.request
        try:
            release = release_for(session, request)
            profile = Profile.model_validate(release.profile)
            if profile_kind(request.spec) not in profile.kinds:
                raise BadSpec(f"release {release.name} has no {request.spec.kind}; name another", field="release")
            demand = selectors.demand(session, request)
            if hasattr(request.spec, "model"):
                check_model(session, request, profile)
            wired = [
                self.wire(session, field, source, siblings, entry.files)
                for field, source in inputs_of(request.spec).items()
            ]
            explicit = [_needed(session, need, siblings, "needs") for need in request.needs]
        except OrchestratorError as trouble:
            raise _placed(trouble, entry.field) from None
        row = _row(request, release, profile, demand, now, name, pipeline)
        row.request = _alone(request, row, siblings, entry.files)
        job = lifecycle.create(session, row, now=now)
        needs = {need.id for need in explicit} | {wire.from_job_id for wire in wired if wire.from_job_id is not None}
        for wire in wired:
            wire.job_id = job.id
        session.add_all([*wired, *(JobNeed(job_id=job.id, needs_id=need) for need in needs)])
        session.flush()
        admission.admit_waiting(session, job, self._store, now=now)
        return job

    def wire(
        self,
        session: Session,
        name: str,
        source: JobOutput | StoredArtifact | FilePath,
        siblings: Mapping[str, Job],
        files: Mapping[str, TakenIn],
    ) -> JobInput:
        """Where input `name` comes from: a digest, or a job whose output it will be; BadSpec if it cannot be had."""
        field = f"spec.{name}"
        if isinstance(source, JobOutput):
            return _wire_output(name, source, _needed(session, source.job, siblings, field))
        if isinstance(source, StoredArtifact):
            stored = session.scalars(select(Artifact).where(Artifact.digest == source.digest)).all()
            if not stored or not self._store.exists(source.digest):
                raise BadSpec(f"no artifact {source.digest} is stored", field=field)
            fitting = next((artifact for artifact in stored if artifact.name == name), None)
            if fitting is None:
                raise BadSpec(
                    f"{name} takes an artifact called {name}, but that one is a {stored[0].name}", field=field
                )
            return JobInput(name=name, digest=fitting.digest, file_name=fitting.file_name)
        taken = files[name]
        _note_input(session, name, taken)
        return JobInput(name=name, digest=taken.digest, file_name=taken.file_name)


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


def _replay(session: Session, idempotency: Idempotency | None) -> Made | None:
    if idempotency is None:
        return None
    record = session.get(IdempotencyRecord, (idempotency.token_id, idempotency.key))
    if record is None:
        return None
    if record.fingerprint != idempotency.fingerprint:
        raise IdempotencyMismatch(
            "this Idempotency-Key was used for another request; use a new key", field="Idempotency-Key"
        )
    return Made(tuple(record.made["jobs"]), record.made["pipeline"], replayed=True)


def _wire_output(name: str, source: JobOutput, producer: Job) -> JobInput:
    if source.artifact != name or PRODUCES[producer.kind] != name:
        raise BadSpec(
            f"{name} takes an artifact called {name}, but job {source.job} is a {producer.kind} job, which makes "
            f"{PRODUCES[producer.kind]}, and {source.artifact} was asked for",
            field=f"spec.{name}",
        )
    return JobInput(name=name, from_job_id=producer.id, from_artifact=name)


def _note_input(session: Session, name: str, taken: TakenIn) -> None:
    known = select(Artifact.id).where(Artifact.digest == taken.digest, Artifact.name == name).limit(1)
    if session.scalar(known) is None:
        session.add(
            Artifact(
                digest=taken.digest, tree=False, name=name, file_name=taken.file_name, size=taken.size,
                created_at=taken.at,
            )
        )  # fmt: skip


def _needed(session: Session, need: str | int, siblings: Mapping[str, Job], field: str) -> Job:
    if isinstance(need, str):
        job = siblings.get(need)
    else:
        job = session.get(Job, need) if 0 < need <= LARGEST_NUMBER else None
    if job is None:
        known = "name a job of the same pipeline, or give a job's number"
        raise BadSpec(f"there is no job {need!r}: {known}", field=field)
    if job.state in FINAL and job.state is not JobState.SUCCEEDED:
        raise BadSpec(f"job {need} has {job.state}, so nothing can use it", field=field)
    return job


def _alone(request: JobRequest, job: Job, siblings: Mapping[str, Job], files: Mapping[str, TakenIn]) -> dict[str, Any]:
    """The request as it means the same outside its pipeline and later: siblings by number, files by digest."""
    document = request.model_dump(mode="json") | {"name": job.name, "project": job.project}
    document["needs"] = [siblings[need].id if isinstance(need, str) else need for need in request.needs]
    for name, source in inputs_of(request.spec).items():
        if isinstance(source, JobOutput) and isinstance(source.job, str):
            document["spec"][name]["job"] = siblings[source.job].id
        elif name in files:
            document["spec"][name] = {"digest": files[name].digest}
    return document


def _row(
    request: JobRequest,
    release: Release,
    profile: Profile,
    demand: str,
    now: datetime,
    name: str | None,
    pipeline: Pipeline | None,
) -> Job:
    limits, defaults = request.limits, profile.kinds[profile_kind(request.spec)].limits
    return Job(
        name=name or request.name or request.spec.kind,
        kind=request.spec.kind,
        project=pipeline.project if pipeline else request.project,
        pipeline_id=pipeline.id if pipeline else None,
        spec=request.spec.model_dump(mode="json"),
        release=release.name,
        slot_kind=slot_kind(request.spec),
        demand=demand,
        priority=request.priority,
        queue_seconds=limits.queue_seconds or defaults.queue_seconds,
        run_seconds=limits.run_seconds or defaults.run_seconds,
        silence_seconds=limits.silence_seconds or defaults.silence_seconds,
        deadline_at=now + timedelta(seconds=limits.total_seconds) if limits.total_seconds else None,
        log_bytes=defaults.log_bytes,
        tool_retries=request.tool_retries,
    )
