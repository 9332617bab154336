"""Jobs: what they were submitted as, what they need and consume, each try at them, and what happened."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.model.batches import StopOn
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import AttemptState, JobState, Until
from orchestrator.storage.tables.base import Base, BigKey, Document, only


class Pipeline(Base):
    """Named jobs submitted together."""

    __tablename__ = "pipeline"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    project: Mapped[str] = mapped_column(String(100))
    submitted_by: Mapped[str | None] = mapped_column(String(120))
    created_at: Mapped[datetime]


class Batch(Base):
    """Many jobs submitted as one thing. None of them starts before `sealed_at`: until then some may be missing."""

    __tablename__ = "batch"
    __table_args__ = (Index("ix_batch_ended_at", "ended_at"),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    project: Mapped[str] = mapped_column(String(100))
    submitted_by: Mapped[str | None] = mapped_column(String(120))
    stop_on: Mapped[StopOn]
    size: Mapped[int]
    """How many jobs it has once it is sealed."""
    left_out: Mapped[Document]
    """Slots that `all` left out, and why."""
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
        # The heads of each queue class in the order in which jobs are placed, however many are queued or held.
        Index("ix_job_queue", "state", "held", "demand", "project", "priority", "rank", "id"),
        Index("ix_job_cache_key_state", "cache_key", "state"),
        # The few canaries and servers among all jobs.
        Index("ix_job_canary", "id", **only("kind = 'canary'")),
        Index("ix_job_serve", "state", **only("kind = 'serve'")),
        Index("ix_job_batch_id_state", "batch_id", "state", **only("batch_id IS NOT NULL")),
        UniqueConstraint("pipeline_id", "name"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    name: Mapped[str] = mapped_column(String(100))
    kind: Mapped[str] = mapped_column(String(20))
    project: Mapped[str] = mapped_column(String(100))
    submitted_by: Mapped[str | None] = mapped_column(String(120))
    """Name of the token that submitted it, or `schedule NAME`; null for the dispatcher."""
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
    """Not placed until someone removes the hold."""
    hold: Mapped[Document | None]
    """Who holds it, when and why; null unless `held`."""
    state: Mapped[JobState]
    version: Mapped[int] = mapped_column(default=1)
    """Grows with every change of the row; the API's ETag."""
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    """Its worker is to end what runs."""
    cancel: Mapped[Document | None]
    """Who ordered to cancel it, why and when; `by` is null for the dispatcher. Null while nobody has."""
    stop: Mapped[Document | None]
    """Who ordered to stop a server, why and when; `by` is null for the dispatcher. Null while nobody has."""
    cache_key: Mapped[str | None] = mapped_column(String(71))
    """Known once all inputs are; null for kinds that are never cached."""
    cache_parts: Mapped[Document | None]
    joined_to: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    """The identical build in progress that this job waits for."""
    cached_from: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    queue_seconds: Mapped[int | None]
    queue_deadline_at: Mapped[datetime | None]
    """Fails if it is still queued then; set again each time it is queued."""
    run_seconds: Mapped[int]
    silence_seconds: Mapped[int]
    deadline_at: Mapped[datetime | None]
    """The end of its total time, all attempts together."""
    not_before: Mapped[datetime | None]
    """Not queued again before, after a fault whose profile asks for a pause."""
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
    __table_args__ = (Index("ix_job_input_digest_job_id", "digest", "job_id"),)

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
        Index("ix_attempt_suspicion", "job_id", **only("suspicion IS NOT NULL")),
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
    """argv, environment and working folder of the process."""
    progress: Mapped[Document | None]
    seconds: Mapped[float | None]
    """Wall time of the vendor process."""
    failure: Mapped[Document | None]
    suspicion: Mapped[Document | None]
    """Why its slot was quarantined when it ended (`orchestrator.model.failures.Suspicion`); null if it was not."""
    answers_digest: Mapped[str | None] = mapped_column(String(71))
    """Of all its answers; equal for two attempts exactly if every answer is. Null without answers."""
    telemetry: Mapped[Document | None]
    """What its cards measured while it ran (`orchestrator.model.telemetry`); null if nothing was measured."""
    log_bytes: Mapped[int] = mapped_column(BigInteger, default=0)
    log_digest: Mapped[str | None] = mapped_column(String(71))
    """The sealed log in the store; until then the log is in `log_chunk`."""
    log_times: Mapped[Document | None]
    """When which part of the sealed log was written: `offsets` of bytes, and `seconds` since 1970 for each."""


class Lease(Base):
    """An attempt's exclusive, expiring claim on one slot. The primary key makes double-booking impossible."""

    __tablename__ = "lease"

    slot_id: Mapped[str] = mapped_column(ForeignKey("slot.id"), primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), index=True)
    expires_at: Mapped[datetime]


class Endpoint(Base):
    """Where one attempt at a `serve` job answers, from the moment it was ready. Open until the attempt ends."""

    __tablename__ = "endpoint"
    __table_args__ = (Index("ix_endpoint_open", "model", **only("closed_at IS NULL")),)

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    model: Mapped[str] = mapped_column(String(100))
    """As it is registered."""
    served_id: Mapped[str] = mapped_column(Text)
    """What the server calls the model; a request has to name it so."""
    url: Mapped[str] = mapped_column(String(300))
    """`http://ADDRESS:PORT`, below which the paths of OpenAI's interface begin with `/v1`."""
    openly: Mapped[bool] = mapped_column(default=False, server_default=false())
    """Whether it listens at addresses that other machines may reach, although it was to listen on loopback."""
    groups: Mapped[int]
    """Card groups, each of which has one request at a time."""
    ready_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    """Not every use is noted: a few seconds may lie between two notes."""
    closed_at: Mapped[datetime | None]


SLOT_HISTORY = (
    "kind IN ('slot.draining', 'slot.drained', 'slot.quarantined', 'slot.resumed', 'slot.resume_refused', 'slot.deaf', "
    "'results.doubted', 'doubt.lifted')"
)
"""The few events that say what happened to a slot, among those of its attempts."""


class Event(Base):
    """One thing that happened, written in the transaction in which it became true."""

    __tablename__ = "event"
    __table_args__ = (Index("ix_event_slot_history", "slot_id", "id", **only(SLOT_HISTORY)),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    at: Mapped[datetime]
    kind: Mapped[str] = mapped_column(String(40))
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"), index=True)
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("attempt.id"))
    slot_id: Mapped[str | None] = mapped_column(String(80))
    data: Mapped[Document]
