"""From a request to the rows of a job: everything that it names is looked up and checked, nothing is written."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator import selectors
from orchestrator.errors import BadSpec
from orchestrator.intake import TakenIn
from orchestrator.model.profile import Profile
from orchestrator.model.specs import (
    PRODUCES,
    FilePath,
    JobOutput,
    JobRequest,
    StoredArtifact,
    inputs_of,
    profile_kind,
    slot_kind,
)
from orchestrator.model.states import FINAL, JobState
from orchestrator.registry import check_model, release_for
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.tables import Artifact, Document, Job, JobInput, JobNeed

LARGEST_NUMBER = 2**63 - 1
"""Of a job; beyond it the databases take no number at all."""


@dataclass(frozen=True)
class Draft:
    """The rows of one job that is not written yet, as columns."""

    job: Document
    inputs: tuple[Document, ...]
    needs: frozenset[int]

    def row(self, now: datetime, **more: Any) -> Job:
        """The job, without a number and a state; `more` are columns that its surroundings decide."""
        columns = {**self.job, **more}
        total = columns.pop("total_seconds")
        deadline = now + timedelta(seconds=total) if total else None
        request = {**columns.pop("request"), "name": columns["name"], "project": columns["project"]}
        return Job(**columns, request=request, deadline_at=deadline)

    def rows_beside(self, job_id: int) -> list[JobInput | JobNeed]:
        """Its inputs and needs, once it has a number."""
        inputs = [JobInput(job_id=job_id, **columns) for columns in self.inputs]
        return [*inputs, *(JobNeed(job_id=job_id, needs_id=need) for need in sorted(self.needs))]


class Drafting:
    """Checks requests against what exists, as one session sees it."""

    def __init__(self, session: Session, store: ArtifactStore) -> None:
        self._session = session
        self._store = store
        self._releases: dict[str | None, tuple[str, Profile]] = {}

    def draft(self, request: JobRequest, files: Mapping[str, TakenIn], siblings: Mapping[str, Job]) -> Draft:
        """The rows of a job; BadSpec names the field of the request that is at fault."""
        release, profile = self._release(request)
        if profile_kind(request.spec) not in profile.kinds:
            raise BadSpec(f"release {release} has no {request.spec.kind}; name another", field="release")
        demand = selectors.demand(self._session, request)
        if hasattr(request.spec, "model"):
            check_model(self._session, request, profile)
        inputs = [self._wire(name, source, siblings, files) for name, source in inputs_of(request.spec).items()]
        explicit = {self._needed(need, siblings, "needs").id for need in request.needs}
        columns = _columns(request, release, profile)
        key = demand.within(columns["run_seconds"]).key()
        return Draft(
            job={**columns, "demand": key, "request": _alone(request, siblings, files)},
            inputs=tuple(inputs),
            needs=frozenset(explicit | {wired["from_job_id"] for wired in inputs if "from_job_id" in wired}),
        )

    def _release(self, request: JobRequest) -> tuple[str, Profile]:
        if request.release not in self._releases:
            row = release_for(self._session, request)
            self._releases[request.release] = row.name, Profile.model_validate(row.profile)
        return self._releases[request.release]

    def _wire(
        self,
        name: str,
        source: JobOutput | StoredArtifact | FilePath,
        siblings: Mapping[str, Job],
        files: Mapping[str, TakenIn],
    ) -> Document:
        if isinstance(source, JobOutput):
            producer = self._needed(source.job, siblings, f"spec.{name}")
            return _wired_to(name, source, producer)
        if isinstance(source, StoredArtifact):
            return self._stored(name, source.digest)
        return {"name": name, "digest": files[name].digest, "file_name": files[name].file_name}

    def _stored(self, name: str, digest: str) -> Document:
        field = f"spec.{name}"
        stored = self._session.scalars(select(Artifact).where(Artifact.digest == digest)).all()
        if not stored or not self._store.exists(digest):
            raise BadSpec(f"no artifact {digest} is stored", field=field)
        fitting = next((artifact for artifact in stored if artifact.name == name), None)
        if fitting is None:
            raise BadSpec(f"{name} takes an artifact called {name}, but that one is a {stored[0].name}", field=field)
        return {"name": name, "digest": fitting.digest, "file_name": fitting.file_name}

    def _needed(self, need: str | int, siblings: Mapping[str, Job], field: str) -> Job:
        if isinstance(need, str):
            job = siblings.get(need)
        else:
            job = self._session.get(Job, need) if 0 < need <= LARGEST_NUMBER else None
        if job is None:
            known = "name a job of the same pipeline, or give a job's number"
            raise BadSpec(f"there is no job {need!r}: {known}", field=field)
        if job.state in FINAL and job.state is not JobState.SUCCEEDED:
            raise BadSpec(f"job {need} has {job.state}, so nothing can use it", field=field)
        return job


def note_files(session: Session, files: Mapping[str, TakenIn]) -> None:
    """Name files that were taken in, once each, so that other requests can use them by digest."""
    for name, taken in files.items():
        known = select(Artifact.id).where(Artifact.digest == taken.digest, Artifact.name == name).limit(1)
        if session.scalar(known) is None:
            session.add(
                Artifact(
                    digest=taken.digest, tree=False, name=name, file_name=taken.file_name, size=taken.size,
                    created_at=taken.at,
                )
            )  # fmt: skip


def _wired_to(name: str, source: JobOutput, producer: Job) -> Document:
    if source.artifact != name or PRODUCES[producer.kind] != name:
        raise BadSpec(
            f"{name} takes an artifact called {name}, but job {source.job} is a {producer.kind} job, which makes "
            f"{PRODUCES[producer.kind]}, and {source.artifact} was asked for",
            field=f"spec.{name}",
        )
    return {"name": name, "from_job_id": producer.id, "from_artifact": name}


def _alone(request: JobRequest, siblings: Mapping[str, Job], files: Mapping[str, TakenIn]) -> Document:
    """The request as it means the same outside its pipeline and later: siblings by number, files by digest."""
    document = request.model_dump(mode="json")
    document["needs"] = [siblings[need].id if isinstance(need, str) else need for need in request.needs]
    for name, source in inputs_of(request.spec).items():
        if isinstance(source, JobOutput) and isinstance(source.job, str):
            document["spec"][name]["job"] = siblings[source.job].id
        elif name in files:
            document["spec"][name] = {"digest": files[name].digest}
    return document


def _columns(request: JobRequest, release: str, profile: Profile) -> Document:
    limits, defaults = request.limits, profile.kinds[profile_kind(request.spec)].limits
    return {
        "name": request.name or request.spec.kind,
        "kind": request.spec.kind,
        "project": request.project,
        "spec": request.spec.model_dump(mode="json"),
        "release": release,
        "slot_kind": slot_kind(request.spec),
        "priority": request.priority,
        "queue_seconds": limits.queue_seconds or defaults.queue_seconds,
        "run_seconds": limits.run_seconds or defaults.run_seconds,
        "silence_seconds": limits.silence_seconds or defaults.silence_seconds,
        "total_seconds": limits.total_seconds,
        "log_bytes": defaults.log_bytes,
        "tool_retries": request.tool_retries,
    }
