"""From a request to waiting jobs: everything that can be checked is checked before a row is written (`steps.py`).

Rows, cache look-ups and the idempotency record are one transaction, so a submission is stored completely or not at all.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from graphlib import CycleError, TopologicalSorter
from typing import TypeVar

from sqlalchemy.orm import Session

from orchestrator.errors import BadSpec, IllegalTransition, NotFound
from orchestrator.jobs import admission
from orchestrator.model.specs import JobOutput, JobRequest, PipelineRequest, endpoints_of, inputs_of
from orchestrator.model.states import FINAL
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Job, Pipeline
from orchestrator.submission import rows
from orchestrator.submission.drafts import Draft
from orchestrator.submission.idempotency import Idempotency, Made
from orchestrator.submission.steps import Steps

T = TypeVar("T")


class Submission:
    """Turns requests into jobs. `by` is the name of the token that asks; None for the dispatcher."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._store = store
        self._steps = Steps(settings, database, store)

    def job(self, request: JobRequest, idempotency: Idempotency | None = None, *, by: str | None = None) -> Made:
        """Submit one job."""
        return self._once(idempotency, lambda: self._steps.drafts({"": request}), partial(self._write, by))

    def jobs(
        self, requests: Sequence[JobRequest], idempotency: Idempotency | None = None, *, by: str | None = None
    ) -> Made:
        """Submit many independent jobs, all or none."""
        fields = {f"jobs.{index}": request for index, request in enumerate(requests)}
        return self._once(idempotency, lambda: self._steps.drafts(fields), partial(self._write, by))

    def pipeline(
        self, request: PipelineRequest, idempotency: Idempotency | None = None, *, by: str | None = None
    ) -> Made:
        """Submit named jobs that may use each other's outputs, all or none."""

        return self._once(idempotency, lambda: self._drafts_of(request), partial(self._write_pipeline, request, by))

    def check(self, request: JobRequest | PipelineRequest) -> list[Draft]:
        """The jobs that a submission would make; nothing is stored or written. BadSpec as the submission has it."""
        if isinstance(request, JobRequest):
            return self._steps.drafts({"": request}, keeps=False)
        return [draft for step in self._drafts_of(request, keeps=False) for draft in step]

    def _drafts_of(self, request: PipelineRequest, *, keeps: bool = True) -> list[list[Draft]]:
        steps = generations(request)
        fields = {f"jobs.{name}": request.jobs[name] for names in steps for name in names}
        drafts = iter(self._steps.drafts(fields, siblings=request.jobs, keeps=keeps))
        return [[draft.called(name) for name, draft in zip(names, drafts, strict=False)] for names in steps]

    def drafted(
        self, draft: Callable[[], list[Draft]], idempotency: Idempotency | None = None, *, by: str | None = None
    ) -> Made:
        """Submit jobs of an internal kind, which no request can name, as `draft` has checked them."""
        return self._once(idempotency, draft, partial(self._write, by))

    def retry(self, job_id: int, idempotency: Idempotency | None = None, *, by: str | None = None) -> Made:
        """Submit a finished job's request again, as a new job."""

        def again() -> list[Draft]:
            with self._database.read() as session:
                job = session.get(Job, job_id)
            if job is None:
                raise NotFound(f"there is no job {job_id}", job=job_id)
            if job.state not in FINAL:
                raise IllegalTransition(f"job {job_id} is {job.state}; cancel it first", job=job_id, state=job.state)
            if job.kind == "provision":
                raise IllegalTransition(f"job {job_id} set up a host; to do it again, use: tx81 provision", job=job_id)
            return self._steps.drafts({"": JobRequest.model_validate(job.request)})

        return self._once(idempotency, again, partial(self._write, by))

    def _once(
        self, idempotency: Idempotency | None, check: Callable[[], T], make: Callable[[T, Session, datetime], Made]
    ) -> Made:
        """Check, then create in one transaction; a key that was used before returns what it created then."""
        if (made := self._steps.made_before(idempotency)) is not None:
            return made
        return self._steps.write(idempotency, partial(make, check()))

    def _write(self, by: str | None, drafts: Sequence[Draft], session: Session, now: datetime) -> Made:
        numbers = rows.write(session, drafts, now=now, by=by)
        admission.admit_new(session, self._store, numbers, now=now)
        return Made(tuple(numbers))

    def _write_pipeline(
        self,
        request: PipelineRequest,
        by: str | None,
        steps: Sequence[Sequence[Draft]],
        session: Session,
        now: datetime,
    ) -> Made:
        pipeline = Pipeline(name=request.name, project=request.project, submitted_by=by, created_at=now)
        session.add(pipeline)
        session.flush()
        surroundings = {"project": pipeline.project, "pipeline_id": pipeline.id}
        numbers: dict[str, int] = {}
        for drafts in steps:
            made = rows.write(session, drafts, now=now, siblings=numbers, by=by, **surroundings)
            numbers |= zip((draft.job["name"] for draft in drafts), made, strict=True)
        jobs = tuple(numbers.values())
        admission.admit_new(session, self._store, jobs, now=now)
        return Made(jobs, pipeline.id)


def generations(request: PipelineRequest) -> list[tuple[str, ...]]:
    """The jobs of a pipeline, each after all it needs, in groups that need only earlier groups.

    BadSpec names an unknown need or the cycle.
    """
    graph: dict[str, set[str]] = {}
    for name, job in request.jobs.items():
        sources = {
            f"spec.{field}": source.job
            for field, source in inputs_of(job.spec).items()
            if isinstance(source, JobOutput)
        }
        for number, server in enumerate(endpoints_of(job.spec)):
            sources[f"spec.endpoint.{number}" if number else "spec.endpoint"] = server.job
        named = {**{f"needs.{index}": need for index, need in enumerate(job.needs)}, **sources}
        for field, need in named.items():
            if isinstance(need, str) and need not in request.jobs:
                raise BadSpec(f"there is no job {need!r} in this pipeline", field=f"jobs.{name}.{field}")
        graph[name] = {need for need in named.values() if isinstance(need, str)}
    sorter = TopologicalSorter(graph)
    try:
        sorter.prepare()
    except CycleError as trouble:
        circle = " → ".join(reversed(trouble.args[1]))
        raise BadSpec(
            f"these jobs depend on each other in a cycle: {circle}", field=f"jobs.{trouble.args[1][0]}.needs"
        ) from None
    steps = []
    while sorter.is_active():
        steps.append(sorter.get_ready())
        sorter.done(*steps[-1])
    return steps
