"""Requests, and where they are handed in."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from builders.lifecycle import a_running_attempt, build, finish, now
from builders.rows import a_model, a_release
from orchestrator.jobs.admission import promote
from orchestrator.model.failures import Failure
from orchestrator.model.specs import JobRequest, PipelineRequest
from orchestrator.model.states import JobState
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact, Event, Job
from orchestrator.submission.submit import Submission


@dataclass(frozen=True)
class Desk:
    """Where requests are handed in: a database with a release and a model, a store, and a folder of files."""

    database: Database
    store: ArtifactStore
    settings: Settings
    files: Path

    @property
    def submission(self) -> Submission:
        return Submission(self.settings, self.database, self.store)

    def submit(self, spec: dict[str, Any], **facts: Any) -> int:
        """Submit one job; its number."""
        (job,) = self.submission.job(request_of(spec, **facts)).jobs
        return job

    def pipeline(self, jobs: dict[str, Any], **facts: Any) -> list[int]:
        """Submit specs as a pipeline; the numbers of its jobs in the order of `jobs`."""
        request = {"name": "p", "jobs": {name: {"spec": spec} for name, spec in jobs.items()}, **facts}
        made = self.submission.pipeline(PipelineRequest.model_validate(request))
        with self.database.read() as session:
            numbers = {session.get_one(Job, job).name: job for job in made.jobs}
        return [numbers[name] for name in jobs]

    def file(self, name: str = "prompts.txt", content: bytes = "你好\n".encode()) -> dict[str, str]:
        """Write a file and say it the way a spec does."""
        (self.files / name).write_bytes(content)
        return {"path": str(self.files / name)}

    def stored(self, name: str, content: bytes = b"x") -> dict[str, str]:
        """Store an artifact as if someone had uploaded it, and say it the way a spec does."""
        stored = self.store.put_bytes(content)
        with self.database.write() as session:
            session.add(
                Artifact(
                    digest=stored.digest, tree=False, name=name, file_name=name, size=stored.size, created_at=now()
                )
            )  # fmt: skip
        return {"digest": stored.digest}

    def infer(self, **facts: Any) -> dict[str, Any]:
        """A spec of an inference that fits."""
        spec = {"kind": "infer", "model": "qwen", **facts}
        spec.setdefault("kcore", self.stored("kcore"))
        if "prompts" not in spec:
            spec["prompts"] = self.file()
        return spec

    def build(self, job_id: int, content: bytes | None = None) -> None:
        """Run a queued build to success."""
        with self.database.write() as session:
            build(session, session.get_one(Job, job_id), self.store, content)

    def end(self, job_id: int, failure: Failure | None = None) -> None:
        """Run a queued job to its end."""
        with self.database.write() as session:
            finish(session, a_running_attempt(session, session.get_one(Job, job_id)), failure)

    def promote(self) -> None:
        """What the dispatcher does with waiting jobs in each turn."""
        with self.database.write() as session:
            promote(session, self.store, now=now())

    def job(self, job_id: int) -> Job:
        with self.database.read() as session:
            return session.get_one(Job, job_id)

    def states(self, *jobs: int) -> list[JobState]:
        return [self.job(job).state for job in jobs]

    def why(self, job_id: int) -> str:
        """Why the job was queued or succeeded, from its last event."""
        with self.database.read() as session:
            event = session.scalars(select(Event).where(Event.job_id == job_id).order_by(Event.id.desc())).first()
            assert event is not None
            return str(event.data.get("why"))


def a_desk(database: Database, store: ArtifactStore, folder: Path) -> Desk:
    files = folder / "files"
    files.mkdir()
    with database.write() as session:
        a_release(session)
        a_model(session)
    return Desk(database, store, Settings(state_dir=folder / "state", allowed_roots=(files,)), files)


def request_of(spec: dict[str, Any], **facts: Any) -> JobRequest:
    return JobRequest.model_validate({"spec": spec, **facts})


def quantize(**facts: Any) -> dict[str, Any]:
    return {"kind": "quantize", "model": "qwen", **facts}


def convert(**facts: Any) -> dict[str, Any]:
    return {"kind": "convert", "model": "qwen", "backend_type": "qwen2_7b_bf16", **facts}


def compile_of(job: str | int) -> dict[str, Any]:
    return {"kind": "compile", "c_source": {"job": job, "artifact": "c_source"}}
