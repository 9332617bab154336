"""From a request to the rows of a job: everything that it names is looked up and checked, nothing is written.

Things named by many requests of one submission are looked up once, and requests that differ only in their name share a
draft. Nothing is read from the store here, since a session is open: `Drafting.kcores` lists what to check afterwards.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.catalog import retirement
from orchestrator.catalog.kcores import Kcores, cards_of
from orchestrator.catalog.lookups import check_model, model_for, release_for, usable_model
from orchestrator.errors import BadSpec, OrchestratorError
from orchestrator.model.calling import how_to_run
from orchestrator.model.demand import Demand
from orchestrator.model.profile import DefaultLimits, Profile
from orchestrator.model.provision import ProvisionRequest, ProvisionSpec
from orchestrator.model.retirements import Retirable
from orchestrator.model.spec_words import InputSource
from orchestrator.model.specs import (
    PRODUCES,
    CanarySpec,
    ClientSpec,
    CompileSpec,
    InferSpec,
    JobOutput,
    JobRequest,
    PromptLines,
    ServeSpec,
    Spec,
    StoredArtifact,
    endpoints_of,
    inputs_of,
    profile_kind,
)
from orchestrator.model.states import FINAL, JobState
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.tables import Artifact, Document, Job
from orchestrator.submission import demand as demands
from orchestrator.submission.files import Intake, TakenIn

LARGEST_NUMBER = 2**63 - 1
"""The largest job number; the databases accept no larger integer."""


@dataclass(frozen=True)
class Draft:
    """The rows of one job that is not written yet, as columns. Other jobs of its pipeline are referenced by name."""

    job: Document
    inputs: tuple[Document, ...]
    needs: frozenset[str | int]
    files: Mapping[str, TakenIn]
    """Those of its inputs that were stored for it."""
    servers: tuple[str | int, ...] = ()
    """The jobs whose endpoints it uses."""

    def called(self, name: str) -> "Draft":
        """The same job with another name."""
        return replace(self, job={**self.job, "name": name, "request": {**self.job["request"], "name": name}})


@dataclass(frozen=True)
class StoredKcore:
    """A kernel image in the store, and the cards that a job would run it on."""

    digest: str
    cards: str | None


def job_columns(
    spec: Spec | ProvisionSpec, asked: JobRequest | ProvisionRequest, *, name: str, release: str | None,
    demand: Demand, defaults: DefaultLimits, stored: Document, tool_retries: int = 0,
) -> Document:  # fmt: skip
    """The columns of a job's row that its request decides; `stored` is the request that retry and clone use.

    `total_seconds` is not a column: it becomes a deadline when the row is written."""
    limits = asked.limits
    run_seconds = limits.run_seconds or defaults.run_seconds
    return {
        "name": name,
        "kind": spec.kind,
        "project": asked.project,
        "spec": spec.model_dump(mode="json"),
        "request": stored,
        "release": release,
        "slot_kind": demand.kind,
        "demand": demand.within(run_seconds).key(),
        "priority": asked.priority,
        "queue_seconds": limits.queue_seconds or defaults.queue_seconds,
        "run_seconds": run_seconds,
        "silence_seconds": limits.silence_seconds or defaults.silence_seconds,
        "total_seconds": limits.total_seconds,
        "log_bytes": defaults.log_bytes,
        "tool_retries": tool_retries,
    }


class Drafting:
    """Checks the requests of one submission against what exists, as one session sees it."""

    def __init__(
        self, session: Session, store: ArtifactStore, intake: Intake, siblings: Mapping[str, JobRequest] | None = None
    ) -> None:
        self._intake = intake
        self._siblings = siblings or {}
        self._release = cache(partial(_release, session))
        self._model = cache(partial(usable_model, session))
        self._registered = cache(partial(demands.registered, session))
        self._job = cache(partial(session.get, Job))
        self._refuse_retired = cache(partial(_refuse_retired, session))
        self._artifacts = cache(partial(_artifacts, session, store))
        self._kcores = Kcores(session, self._siblings, release=self._release, model=partial(model_for, session))
        self._drafts: dict[str, Draft] = {}
        self.kcores: dict[StoredKcore, str] = {}
        """Drafted runs of stored kernel images, each with the first place in the request that names it."""

    def draft(self, request: JobRequest, place: str = "") -> Draft:
        """The rows of a job whose files are stored; BadSpec names the field at fault, relative to `place`."""
        key = request.model_dump_json(exclude={"name"})
        if key not in self._drafts:
            with within(place):
                self._drafts[key] = self._checked(request, place)
        return self._drafts[key].called(request.name or request.spec.kind)

    def demand(self, request: JobRequest) -> Demand:
        """The slots it requests; BadSpec if there are none."""
        release, _ = self._release(request.release)
        return replace(demands.demand(request, self._registered), release=release)

    def _checked(self, request: JobRequest, place: str) -> Draft:
        spec, files = request.spec, self._intake.files_of(request.spec)
        release, profile = self._release(request.release)
        kind = how_to_run(profile, spec)
        if kind is None:
            raise BadSpec(f"release {release} has no {profile_kind(spec)}; name another", field="release")
        demand = self.demand(request)
        if not isinstance(spec, CompileSpec | ClientSpec):
            check_model(self._model(spec.model), spec, profile)
        inputs = tuple(self._wire(name, source, files) for name, source in inputs_of(spec).items())
        if isinstance(spec, InferSpec | CanarySpec | ServeSpec):
            self._kcores.refuse_unfit(spec, kind)
            if (kcore := self._kcores.stored(spec)) is not None:
                self.kcores.setdefault(StoredKcore(kcore, cards_of(spec)), place)
        for need in request.needs:
            self._kind_of(need, "needs")
        limits = kind.limits
        if isinstance(spec, ServeSpec):
            limits = limits.model_copy(update={"run_seconds": spec.run_seconds})
        wired = (entry["from_job_id"] for entry in inputs if entry["from_job_id"] is not None)
        job = job_columns(
            spec, request, name=request.name or spec.kind, release=release, demand=demand, defaults=limits,
            stored=_stored_request(request, files), tool_retries=request.tool_retries,
        )  # fmt: skip
        # Questions in the request are stored as a file, and not once more in every row that names them.
        job["spec"].update(
            {
                name: {"digest": files[name].digest}
                for name, source in inputs_of(spec).items()
                if isinstance(source, PromptLines)
            }
        )
        return Draft(
            job=job,
            inputs=inputs,
            needs=frozenset((*request.needs, *wired)),
            files=files,
            servers=tuple(self._server(request, used) for used in endpoints_of(spec)),
        )  # fmt: skip

    def _server(self, request: JobRequest, used: JobOutput) -> str | int:
        """The job whose endpoint a request uses."""
        field = "spec.endpoint"
        _check_output("endpoint", used, self._kind_of(used.job, field))
        if used.job in request.needs:
            raise BadSpec(
                f"it uses job {used.job} while that runs, and cannot also need its end: remove it from needs",
                field=field,
            )
        ended = self._job(used.job) if isinstance(used.job, int) else None
        if ended is not None and ended.state in FINAL:
            raise BadSpec(f"job {used.job} has ended, and its endpoint with it: start another server", field=field)
        return used.job

    def _wire(self, name: str, source: InputSource, files: Mapping[str, TakenIn]) -> Document:
        if isinstance(source, JobOutput):
            _check_output(name, source, self._kind_of(source.job, f"spec.{name}"))
            if isinstance(source.job, int) and (made := self._kcores.made(name, source.job)) is not None:
                self._refuse_retired(made, f"spec.{name}")
            return _input(name, from_job_id=source.job, from_artifact=name)
        if isinstance(source, StoredArtifact):
            fitting = self._stored(name, source.digest)
            return _input(name, digest=fitting.digest, file_name=fitting.file_name)
        return _input(name, digest=files[name].digest, file_name=files[name].file_name)

    def _stored(self, name: str, digest: str) -> Artifact:
        field = f"spec.{name}"
        stored = self._artifacts(digest)
        if not stored:
            raise BadSpec(f"no artifact {digest} is stored", field=field)
        fitting = next((artifact for artifact in stored if artifact.name == name), None)
        if fitting is None:
            raise BadSpec(f"{name} takes an artifact called {name}, but that one is a {stored[0].name}", field=field)
        self._refuse_retired(digest, field)
        return fitting

    def _kind_of(self, need: str | int, field: str) -> str:
        """The kind of a job that this one can wait for."""
        if isinstance(need, str) and need in self._siblings:
            return self._siblings[need].spec.kind
        job = self._job(need) if isinstance(need, int) and 0 < need <= LARGEST_NUMBER else None
        if job is None:
            known = "name a job of the same pipeline, or give a job's number"
            raise BadSpec(f"there is no job {need!r}: {known}", field=field)
        if job.state in FINAL and job.state is not JobState.SUCCEEDED:
            raise BadSpec(f"job {need} has {job.state}, so it cannot be used", field=field)
        return job.kind


def _release(session: Session, name: str | None) -> tuple[str, Profile]:
    row = release_for(session, name)
    return row.name, Profile.model_validate(row.profile)


def _artifacts(session: Session, store: ArtifactStore, digest: str) -> Sequence[Artifact]:
    """The name of the artifact with this digest, as long as it is in the store."""
    named = session.scalars(select(Artifact).where(Artifact.digest == digest)).all()
    return named if named and store.exists(digest) else ()


def _refuse_retired(session: Session, digest: str, field: str) -> None:
    retirement.refuse(session, Retirable.ARTIFACT, digest, field=field)


def _check_output(name: str, source: JobOutput, producer: str) -> None:
    made = PRODUCES.get(producer, "no artifact that a job can use")
    if source.artifact != name or made != name:
        raise BadSpec(
            f"{name} takes an artifact called {name}, but job {source.job} is a {producer} job, which makes "
            f"{made}, and {source.artifact} was requested",
            field=f"spec.{name}",
        )


def _input(name: str, **known: Any) -> Document:
    return {"name": name, "from_job_id": None, "from_artifact": None, "digest": None, "file_name": None, **known}


def _stored_request(request: JobRequest, files: Mapping[str, TakenIn]) -> Document:
    """The request in a form that does not change its meaning later: files by digest."""
    document = request.model_dump(mode="json")
    document["spec"].update({name: {"digest": taken.digest} for name, taken in files.items()})
    return document


@contextmanager
def within(place: str) -> Iterator[None]:
    """A refusal names its field from the root of the document, in which `place` is the position of the request."""
    try:
        yield
    except OrchestratorError as trouble:
        raise (trouble.within(place) if place else trouble) from None
