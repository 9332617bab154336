"""Everything about one attempt that is in SQL, claimed and read in one transaction."""

import math
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import bindparam, select

from orchestrator import lifecycle
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Document, Job, JobInput, Model, Release

# Columns, and built once: objects take several times as long, and the vendor's tool waits for it.
_ASSIGNMENT = (
    select(
        Attempt.number, Attempt.slot_ids, Job.id, Job.spec, Job.run_seconds, Job.silence_seconds, Job.log_bytes,
        Job.deadline_at, Release.profile, Release.root,
    )
    .join(Job, Job.id == Attempt.job_id)
    .join(Release, Release.name == Job.release)
    .where(Attempt.id == bindparam("attempt_id"))
)  # fmt: skip
_MODEL = select(Model.name, Model.path, Model.official_config, Model.tx81_config, Model.digest).where(
    Model.name == bindparam("name")
)
_INPUTS = select(JobInput.name, JobInput.digest, JobInput.file_name).where(JobInput.job_id == bindparam("job_id"))


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
    digest: str


@dataclass(frozen=True)
class Assignment:
    """One claimed attempt. `spec` and `profile` are as stored: they are validated where a failure can be reported."""

    attempt_id: int
    number: int
    job_id: int
    slot_ids: tuple[str, ...]
    spec: Document
    profile: Document
    root: str
    model: RegisteredModel | None
    inputs: tuple[InputArtifact, ...]
    run_seconds: int
    silence_seconds: int
    log_bytes: int
    seconds_left: float
    """Until the job's total deadline, at the claim; infinite without one."""

    @property
    def label(self) -> str:
        """`JOB.NUMBER`, as its folder and its Celery task are called."""
        return f"{self.job_id}.{self.number}"

    @property
    def groups(self) -> tuple[SlotName, ...]:
        """The card groups that were leased to it, in the order of its batches; none for a CPU seat."""
        slots = (SlotName.parse(slot_id.rpartition(".")[2]) for slot_id in self.slot_ids)
        return tuple(slot for slot in slots if slot.kind is SlotKind.CARD_GROUP)


def claim(database: Database, attempt_id: int, *, worker: str, lease: timedelta) -> Assignment | None:
    """Take the attempt and read what it needs; None if it is not there to take (late, doubled or cancelled bell)."""
    with database.write() as session:
        now = database.now(session)
        if not lifecycle.claim(session, attempt_id, worker=worker, now=now, lease=lease):
            return None
        row = session.execute(_ASSIGNMENT, {"attempt_id": attempt_id}).one()
        model = session.execute(_MODEL, {"name": row.spec.get("model", "")}).one_or_none()
        inputs = session.execute(_INPUTS, {"job_id": row.id})
        return Assignment(
            attempt_id=attempt_id,
            number=row.number,
            job_id=row.id,
            slot_ids=tuple(row.slot_ids),
            spec=row.spec,
            profile=row.profile,
            root=row.root,
            model=None if model is None else RegisteredModel(*model),
            inputs=tuple(InputArtifact(name, digest, file_name or name) for name, digest, file_name in inputs),
            run_seconds=row.run_seconds,
            silence_seconds=row.silence_seconds,
            log_bytes=row.log_bytes,
            seconds_left=math.inf if row.deadline_at is None else (row.deadline_at - now).total_seconds(),
        )
