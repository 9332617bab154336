"""Documents about card groups and CPU seats."""

from datetime import date, datetime
from enum import StrEnum

from pydantic import Field

from api.documents.base import Document, View
from api.documents.jobs import AttemptView, JobReference, JobView, TelemetryView
from orchestrator.model.failures import Failure
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import AttemptState, ServiceState
from orchestrator.model.windows import Window


class Presence(StrEnum):
    """Whether the slot's worker sends heartbeats."""

    ALIVE = "alive"
    DEAF = "deaf"  #: It does, but has not heard its doorbells: nothing is placed there until it has restarted.
    LOST = "lost"  #: It gave one, and then none for longer than a lease lasts.
    AWAY = "away"  #: It stopped, or never started.


class Occupancy(StrEnum):
    """What holds the slot."""

    FREE = "free"  #: No lease names it.
    ASSIGNED = "assigned"  #: Leased to an attempt that no worker has claimed yet.
    RUNNING = "running"


class ServiceChange(View):
    """Who drained, resumed or quarantined a slot last, why and when; `by` is null where no person did."""

    by: str | None
    note: str | None
    at: datetime


class QuarantineView(View):
    """Why a slot is quarantined: what a probe or the end of an attempt has shown, or what a person saw."""

    reason: str
    signature: str | None = None
    slots: tuple[str, ...] = Field(
        default=(), description="The slots that are suspected together: unknown which one it was."
    )
    job_id: int | None = None
    attempt_id: int | None = None
    evidence: Document | None = Field(
        default=None, description="What a probe saw, or which attempts failed here alone."
    )
    resume_refused: Document | None = Field(default=None, description="Why it was not returned to service on request.")
    by: str | None = None
    at: datetime


class DeafView(View):
    """Since when the slot's worker has not heard its doorbells, and for which attempt."""

    reason: str
    attempt_id: int
    at: datetime


class SlotView(View):
    """One place where one job runs at a time."""

    id: str
    host: str
    name: str
    kind: SlotKind
    cards: tuple[int, ...]
    presence: Presence
    occupancy: Occupancy
    service_state: ServiceState
    service_change: ServiceChange | None = None
    quarantined_because: QuarantineView | None = None
    resume_requested: ServiceChange | None = Field(default=None, description="Its worker checks the cards first.")
    drained_when: datetime | None = Field(
        default=None, description="While it drains: when its job reaches its run limit, at the latest."
    )
    limit_at: datetime | None = Field(default=None, description="When what runs there reaches its run limit.")
    worker: str | None
    worker_pid: int | None
    heartbeat_at: datetime | None
    last_ended_at: datetime | None
    lease_expires_at: datetime | None
    attempt: AttemptView | None
    job: JobReference | None
    deaf: DeafView | None = Field(default=None, description="Nothing is placed there until its worker has restarted.")
    misrouted_bells: int = Field(description="Doorbells for other slots that its workers have dropped.")
    queued: int = Field(description="Jobs in the queue that may only run here.")
    reservation: Window | None = Field(default=None, description="The current one, else the next one.")


class SlotDetail(SlotView):
    """A slot with the first of the jobs that are pinned to it."""

    queue: tuple[JobView, ...]


class SlotAttemptView(View):
    """One attempt on a slot, as the history of the slot shows it."""

    id: int
    number: int
    job: JobReference
    state: AttemptState
    started_at: datetime | None
    ended_at: datetime | None
    failure: Failure | None
    telemetry: TelemetryView | None = Field(default=None, description="What its cards measured, without the points.")


class SlotEventView(View):
    """One thing that happened to a slot: quarantined, drained, resumed, doubted, a fault of an attempt."""

    at: datetime
    what: str
    why: str | None
    by: str | None
    job_id: int | None
    attempt_id: int | None


class CanaryRunView(JobReference):
    """One canary job on a slot."""

    created_at: datetime
    ended_at: datetime | None
    failure: Failure | None


class LackView(View):
    """Why and since when a host does not have something; without `until`, until its worker is started again."""

    why: str
    since: datetime
    until: datetime | None = Field(description="When its worker looks for it again.")


class SlotHistory(SlotDetail):
    """A slot with everything that speaks for or against its cards."""

    score: float = Field(description="Unrelated failures here that such jobs do not have elsewhere, decayed by age.")
    suspect_at: float = Field(description="The score from which on a slot is quarantined.")
    counted: tuple[int, ...] = Field(description="The attempts that make the score.")
    recent: tuple[SlotAttemptView, ...] = Field(description="Its latest attempts, newest first.")
    canaries: tuple[CanaryRunView, ...] = Field(description="Its latest canaries, newest first.")
    history: tuple[SlotEventView, ...] = Field(
        default=(), description="What happened to it, newest first; cards are swapped while it is out of service."
    )
    lacks: dict[str, LackView] = Field(
        description="What its host does not have: releases by name, `!disk` (room), `!port` (a free port)."
    )


class ScorePoint(View):
    """How suspect a slot was at a moment."""

    at: datetime
    score: float


class DeviceDayView(View):
    """Seconds of one day of a slot, by the outcome of the attempts that its worker ran."""

    day: date
    succeeded: float
    failed: float = Field(description="The job's own failures, and what was cancelled or stopped.")
    faults: float
    canaries: float


class SlotHealth(View):
    """How a slot was doing: its score, and what its time went into."""

    suspect_at: float = Field(description="The score from which on a slot is quarantined.")
    course: tuple[ScorePoint, ...] = Field(
        description="Its score after each of the latest attempts there, and now; at most 40."
    )
    days: tuple[DeviceDayView, ...] = Field(
        description="The last days, oldest first; the first ones are missing where there were very many attempts."
    )
