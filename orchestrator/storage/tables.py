"""The mapped classes. What a column promises is said here; what may change it, in `orchestrator.jobs.lifecycle`."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, false, text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.model.batches import StopOn
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import AttemptState, JobState, ServiceState, Until
from orchestrator.storage.base import Base as Base
from orchestrator.storage.base import BigKey
from orchestrator.storage.base import Document as Document
from orchestrator.storage.endpoints import Endpoint as Endpoint
from orchestrator.storage.release_checks import CheckedRelease as CheckedRelease
from orchestrator.storage.reservations import Reservation as Reservation
from orchestrator.storage.reservations import ReservationSlot as ReservationSlot
from orchestrator.storage.result_tables import Answer as Answer
from orchestrator.storage.result_tables import LogChunk as LogChunk
from orchestrator.storage.result_tables import Metric as Metric


def _only(rows: str) -> dict[str, Any]:
    """The condition of a partial index, for both databases."""
    return {"sqlite_where": text(rows), "postgresql_where": text(rows)}


class Token(Base):
    """A bearer token; only its SHA-256 is kept."""

    __tablename__ = "token"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    """Since when it is refused. The row stays, for what it did and so that its name is never another's."""


class IdempotencyRecord(Base):
    """What an Idempotency-Key made, written in the transaction that made it."""

    __tablename__ = "idempotency"

    token_id: Mapped[int] = mapped_column(ForeignKey("token.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    made: Mapped[Document]
    created_at: Mapped[datetime]


class Model(Base):
    """A registered weights directory with the config.json files that its uses need."""

    __tablename__ = "model"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    path: Mapped[str] = mapped_column(Text)
    family: Mapped[str] = mapped_column(String(40))
    official_config: Mapped[Document | None]
    tx81_config: Mapped[Document | None]
    digest: Mapped[str] = mapped_column(String(71))
    """Of everything in the folder but config.json, which conversion and inference each need another of."""
    size: Mapped[int] = mapped_column(BigInteger)
    stamp: Mapped[str | None] = mapped_column(String(71))
    """Of the names, sizes and times of the files behind `digest`: as long as it is the same, nobody wrote to them."""
    weights: Mapped[str | None] = mapped_column(String(71))
    """Of the *.safetensors alone; the same for folders that differ in tokenizer or papers. Null on older rows."""
    created_at: Mapped[datetime]


class Release(Base):
    """One installed build of the vendor's tools: a profile and the root it is installed at."""

    __tablename__ = "release"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    profile: Mapped[Document]
    root: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(71))
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]


class Slot(Base):
    """One place where one job runs at a time. Occupied exactly while a lease names it."""

    __tablename__ = "slot"

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    """HOST.SLOT, also the name of its Celery queue."""
    host: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(10))
    kind: Mapped[SlotKind]
    service_state: Mapped[ServiceState] = mapped_column(default=ServiceState.IN_SERVICE)
    worker: Mapped[str | None] = mapped_column(String(100))
    """Name of the worker process that owns it, new at every start."""
    worker_pid: Mapped[int | None]
    heartbeat_at: Mapped[datetime | None]
    """Last sign of life of its worker; null when the worker said goodbye."""
    lock_domain: Mapped[str | None] = mapped_column(String(32))
    """Of its worker: who shares it sees each other's locks, and knows by them who is dead."""
    last_ended_at: Mapped[datetime | None]
    service_change: Mapped[Document | None]
    """Who drained, resumed or quarantined it last, when and why; `by` is null where no person did."""
    quarantined_because: Mapped[Document | None]
    """Why it is quarantined: reason, signature, job, attempt, evidence, who, when. Kept when canaries have failed."""
    resume_requested: Mapped[Document | None]
    """Who asked for it back, when and why, until its worker has looked at its cards and answered."""
    labels: Mapped[Document | None]
    """Of its host, as its worker announced them; null until one did."""
    kcore: Mapped[str | None] = mapped_column(String(71))
    """Digest of the kernel image that was placed on it last."""
    lacks: Mapped[Document | None]
    """Releases whose tools its host turned out not to have, each with the reason, until its worker is started again."""


class Canary(Base):
    """What proves that the cards of a quarantined slot work: a short inference whose answers are known."""

    __tablename__ = "canary"

    release: Mapped[str] = mapped_column(ForeignKey("release.name"), primary_key=True)
    spec: Mapped[Document]
    """`orchestrator.model.specs.CanarySpec` with every input by digest, so that it is always the same."""
    set_by: Mapped[str] = mapped_column(String(100))
    set_at: Mapped[datetime]


class Host(Base):
    """One server with cards, once the dispatcher has seen a slot of it."""

    __tablename__ = "host"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    away_since: Mapped[datetime | None]
    """Last sign of life of any of its workers before it was found away; null while one is there."""


class Project(Base):
    """Whose jobs they are, and what of the slots' time it has had."""

    __tablename__ = "project"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    weight: Mapped[float] = mapped_column(default=1.0)
    """Its share beside the others, while they have work."""
    used_seconds: Mapped[float] = mapped_column(default=0.0)
    """Slot-seconds of its attempts that have ended, as they had faded by `used_at`."""
    used_at: Mapped[datetime]
    half_life_seconds: Mapped[float]
    """In which half of the used seconds fades; the dispatcher keeps it as its setting says."""


class Pipeline(Base):
    """Named jobs submitted together."""

    __tablename__ = "pipeline"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    project: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]


class Batch(Base):
    """Many jobs submitted as one thing. None of them starts before `sealed_at`: until then some may be missing."""

    __tablename__ = "batch"
    __table_args__ = (Index("ix_batch_ended_at", "ended_at"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    project: Mapped[str] = mapped_column(String(100))
    stop_on: Mapped[StopOn]
    size: Mapped[int]
    """How many jobs it has once it is sealed."""
    left_out: Mapped[Document]
    """Slots that `all` did not mean, and why."""
    created_at: Mapped[datetime]
    touched_at: Mapped[datetime]
    """While it is open: when the last of its jobs was written."""
    sealed_at: Mapped[datetime | None]
    stop: Mapped[Document | None]
    """Why the jobs that had not begun were not started any more; null while nothing speaks against them."""
    ended_at: Mapped[datetime | None]


class Job(Base):
    """One request to run a spec."""

    __tablename__ = "job"
    __table_args__ = (
        # The heads of each group in the order in which jobs are placed, however many are queued or held.
        Index("ix_job_queue", "state", "held", "demand", "project", "priority", "rank", "id"),
        Index("ix_job_cache_key_state", "cache_key", "state"),
        # The few canaries and servers among all jobs.
        Index("ix_job_canary", "id", **_only("kind = 'canary'")),
        Index("ix_job_serve", "state", **_only("kind = 'serve'")),
        Index("ix_job_batch_id_state", "batch_id", "state", **_only("batch_id IS NOT NULL")),
        UniqueConstraint("pipeline_id", "name"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(20))
    project: Mapped[str] = mapped_column(String(100))
    pipeline_id: Mapped[int | None] = mapped_column(ForeignKey("pipeline.id"))
    batch_id: Mapped[int | None] = mapped_column(ForeignKey("batch.id"))
    spec: Mapped[Document]
    request: Mapped[Document]
    """The whole request as validated; retry and clone start from it."""
    release: Mapped[str | None] = mapped_column(ForeignKey("release.name"))
    """Whose tools it runs; null of a job that provisions a host, until it has registered what it installed."""
    slot_kind: Mapped[SlotKind]
    demand: Mapped[str] = mapped_column(String(500))
    """Demand class (`orchestrator.model.demand`): jobs of one class fit the same slots."""
    priority: Mapped[int]
    rank: Mapped[int] = mapped_column(BigInteger, default=0, server_default="0")
    """Order within a priority, before the number: 0, or below it since it was moved to the front."""
    held: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Kept from being placed until someone releases it."""
    hold: Mapped[Document | None]
    """Who holds it, when and why; null unless `held`."""
    state: Mapped[JobState]
    version: Mapped[int] = mapped_column(default=1)
    """Grows with every change of the row; the API's ETag."""
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    stop: Mapped[Document | None]
    """Who or what asks a server to end in good order, when and why; null while nothing does."""
    cache_key: Mapped[str | None] = mapped_column(String(71))
    """Known once all inputs are; null for kinds that are never cached."""
    cache_parts: Mapped[Document | None]
    joined_to: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    """The identical build under way that this job waits for."""
    cached_from: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    queue_seconds: Mapped[int | None]
    queue_deadline_at: Mapped[datetime | None]
    """Fails if it is still queued then; set anew each time it is queued."""
    run_seconds: Mapped[int]
    silence_seconds: Mapped[int]
    deadline_at: Mapped[datetime | None]
    """The end of its total time, all attempts together."""
    log_bytes: Mapped[int] = mapped_column(BigInteger)
    tool_retries: Mapped[int]
    created_at: Mapped[datetime]
    queued_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    failure: Mapped[Document | None]
    """`orchestrator.model.failures.Failure` of a failed job; why a cancelled or skipped one ended."""


class JobNeed(Base):
    """`job_id` may start only when `needs_id` is as far as `until` says."""

    __tablename__ = "job_need"

    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True)
    needs_id: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True, index=True)
    until: Mapped[Until] = mapped_column(default=Until.SUCCEEDED, server_default=Until.SUCCEEDED)
    gone_attempt_id: Mapped[int | None] = mapped_column(BigKey)
    """An attempt at a server that answers no more: its endpoint, while it still stands open, does not meet the need."""


class JobInput(Base):
    """One artifact a job consumes; its digest is null until the producing job has succeeded."""

    __tablename__ = "job_input"

    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(40), primary_key=True)
    from_job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    from_artifact: Mapped[str | None] = mapped_column(String(100))
    digest: Mapped[str | None] = mapped_column(String(71))
    file_name: Mapped[str | None] = mapped_column(String(255))


class Attempt(Base):
    """One try at a job on the slots that are leased to it: one, or several card groups of one host."""

    __tablename__ = "attempt"
    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        Index("ix_attempt_state", "state"),
        # What has ended lately, on one slot and on all others.
        Index("ix_attempt_slot_id_ended_at", "slot_id", "ended_at"),
        Index("ix_attempt_ended_at", "ended_at"),
        # Few attempts put their slot under suspicion, and those are what a batch is stopped for.
        Index("ix_attempt_suspicion", "job_id", **_only("suspicion IS NOT NULL")),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"))
    number: Mapped[int]
    slot_id: Mapped[str] = mapped_column(ForeignKey("slot.id"))
    """The slot whose worker runs it: the first of `slot_ids`."""
    slot_ids: Mapped[list[str]] = mapped_column(server_default="[]")
    """All its slots, in the order of its batches."""
    state: Mapped[AttemptState]
    worker: Mapped[str | None] = mapped_column(String(100))
    assigned_at: Mapped[datetime]
    rung_at: Mapped[datetime | None]
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    pid: Mapped[int | None]
    command: Mapped[Document | None]
    """argv, environment and folder exactly as started."""
    progress: Mapped[Document | None]
    seconds: Mapped[float | None]
    """Wall time of the vendor process."""
    failure: Mapped[Document | None]
    suspicion: Mapped[Document | None]
    """Why its slot was quarantined when it ended (`orchestrator.model.failures.Suspicion`); null if it was not."""
    answers_digest: Mapped[str | None] = mapped_column(String(71))
    """Of all its answers; equal for two attempts exactly if every answer is. Null without answers."""
    log_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    log_digest: Mapped[str | None] = mapped_column(String(71))
    """The sealed log in the store; until then the log is in `log_chunk`."""


class Lease(Base):
    """An attempt's exclusive, expiring hold on one slot. The primary key makes double-booking impossible."""

    __tablename__ = "lease"

    slot_id: Mapped[str] = mapped_column(ForeignKey("slot.id"), primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), index=True)
    expires_at: Mapped[datetime]


class Event(Base):
    """One thing that happened, written in the transaction in which it became true."""

    __tablename__ = "event"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(40))
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"), index=True)
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("attempt.id"))
    slot_id: Mapped[str | None] = mapped_column(String(80))
    data: Mapped[Document]


class Artifact(Base):
    """A stored file or tree, as one job's named output or as an input taken in at submission."""

    __tablename__ = "artifact"
    __table_args__ = (UniqueConstraint("job_id", "attempt_id", "name"), Index("ix_artifact_digest", "digest"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    digest: Mapped[str] = mapped_column(String(71))
    tree: Mapped[bool]
    name: Mapped[str] = mapped_column(String(100))
    """What the producing kind calls it: gm, c_source, kcore, answers, log … ; `prompts`, `golden` for inputs."""
    file_name: Mapped[str] = mapped_column(String(255))
    size: Mapped[int] = mapped_column(BigInteger)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("attempt.id"))
    facts: Mapped[Document | None]
    """Of one that was imported: what is known of how it was made. A job's output is known by its job."""
    created_at: Mapped[datetime]


class Leader(Base):
    """Which process holds a role that only one may hold, and until when."""

    __tablename__ = "leader"

    role: Mapped[str] = mapped_column(String(40), primary_key=True)
    holder: Mapped[str] = mapped_column(String(100))
    expires_at: Mapped[datetime]
