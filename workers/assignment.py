"""Everything about one attempt that is in SQL, claimed and read in one transaction."""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select

from orchestrator import lifecycle
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Document, Job, JobInput, Model, Release


@dataclass(frozen=True)
class InputArtifact:
    """One artifact the job consumes, by its digest and the file name it was stored from."""

    name: str
    digest: str | None
    file_name: str


@dataclass(frozen=True)
class RegisteredModel:
    """A registered weights folder, and the config.json that each use of it needs."""

    name: str
    path: str
    official_config: Document | None
    tx81_config: Document | None

    @classmethod
    def of(cls, row: Model) -> "RegisteredModel":
        """The row's facts, which outlive its session."""
        return cls(row.name, row.path, row.official_config, row.tx81_config)


@dataclass(frozen=True)
class Assignment:
    """One claimed attempt. `spec` and `profile` are as stored: they are validated where a failure can be reported."""

    attempt_id: int
    number: int
    job_id: int
    slot_id: str
    spec: Document
    profile: Document
    root: str
    model: RegisteredModel | None
    inputs: tuple[InputArtifact, ...]
    run_seconds: int
    silence_seconds: int
    log_bytes: int

    @property
    def label(self) -> str:
        """`JOB.NUMBER`, as its folder and its Celery task are called."""
        return f"{self.job_id}.{self.number}"


def claim(database: Database, attempt_id: int, *, worker: str, lease: timedelta) -> Assignment | None:
    """Take the attempt and read what it needs; None if it is not there to take (late, doubled or cancelled bell)."""
    with database.write() as session:
        now = database.now(session)
        attempt = lifecycle.claim(session, attempt_id, worker=worker, now=now, lease=lease)
        if attempt is None:
            return None
        job = session.get_one(Job, attempt.job_id)
        release = session.get_one(Release, job.release)
        model = session.get(Model, job.spec.get("model", ""))
        inputs = session.scalars(select(JobInput).where(JobInput.job_id == job.id)).all()
        return Assignment(
            attempt_id=attempt.id,
            number=attempt.number,
            job_id=job.id,
            slot_id=attempt.slot_id,
            spec=job.spec,
            profile=release.profile,
            root=release.root,
            model=None if model is None else RegisteredModel.of(model),
            inputs=tuple(InputArtifact(row.name, row.digest, row.file_name or row.name) for row in inputs),
            run_seconds=job.run_seconds,
            silence_seconds=job.silence_seconds,
            log_bytes=job.log_bytes,
        )
