"""Documents about jobs, attempts, metrics, events and orders."""

from datetime import datetime
from enum import StrEnum

from pydantic import Field, computed_field

from api.documents.artifacts import ArtifactView
from api.documents.base import Document, View
from api.documents.doubts import DoubtView
from api.documents.endpoints import EndpointView
from orchestrator.model.failures import Failure, Suspicion
from orchestrator.model.orders import Action
from orchestrator.model.specs import JobRequest, Strict
from orchestrator.model.states import AttemptState, JobState


class BulkRequest(Strict):
    """Jobs that are created together or not at all."""

    jobs: tuple[JobRequest, ...] = Field(min_length=1, max_length=1000)


class CheckedJob(View):
    """A job that was checked as a submission is, and not made: what it would be."""

    name: str
    kind: str
    release: str | None
    demand: str = Field(description="The slots it would wait for, as `GET /queue` shows them.")
    priority: int
    run_seconds: int = Field(description="The limit of one attempt.")
    files: dict[str, str] = Field(description="Digests of the files that it would take into the store, by input.")


class JobReference(View):
    """A job as another thing points at it."""

    id: int
    name: str
    kind: str
    state: JobState


class Hold(View):
    """Who put a job on hold, why and since when."""

    by: str
    note: str | None = None
    at: datetime


class JobView(JobReference):
    """One job, as lists show it."""

    project: str
    submitted_by: str | None = Field(
        default=None, description="Token that submitted it, or `schedule NAME`; null for the dispatcher."
    )
    pipeline_id: int | None
    batch_id: int | None = None
    priority: int
    rank: int = Field(default=0, description="Order within a priority: below 0 since it was moved to the front.")
    held: bool = Field(default=False, description="On hold: not placed until someone removes the hold.")
    hold: Hold | None = None
    model: str | None = None
    release: str | None
    slot: str | None = Field(description="Pinned there: g3, or HOST.g3; or these of one host: g0, g2.")
    last_slot_id: str | None = Field(default=None, description="Slot of its latest attempt; of several, the first.")
    last_slot_ids: tuple[str, ...] = Field(default=(), description="All slots of its latest attempt.")
    progress: Document | None = Field(
        default=None, description="While it runs: `done` and `total`, in what its tool counts; null if it says nothing."
    )
    cancel_requested: bool
    cancel: Document | None = Field(default=None, description="Who requested to cancel it, why, and when.")
    stop: Document | None = Field(
        default=None, description="For a server: why it is to stop, who requested it, and when."
    )
    cached_from: int | None = Field(description="The job whose stored result this one took.")
    joined_to: int | None = Field(description="The identical build in progress that this job waits for.")
    failure: Failure | None
    created_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    version: int = Field(
        description="Increases with every change of the job; send it as If-Match to act only on this version."
    )


class InputView(View):
    """One artifact a job consumes; the digest is null until the producing job has succeeded."""

    name: str
    from_job_id: int | None
    from_artifact: str | None
    digest: str | None
    file_name: str | None


class MeasureView(View):
    """One measure of all cards of an attempt while its tool ran."""

    min: float
    mean: float
    max: float
    max_card: int = Field(description="The card with the most.")
    points: tuple[tuple[float, float], ...] = Field(
        description="At most 60: seconds after the start, and the most of all cards then."
    )


class TelemetryView(View):
    """What the cards of an attempt measured while its tool ran."""

    samples: int
    sampling_seconds: float = Field(description="What measuring took in all.")
    measures: dict[str, MeasureView] = Field(description="celsius, watt, percent, megabytes, megahertz.")


class AttemptView(View):
    """One try at a job, on one slot or on several card groups of one host."""

    id: int
    number: int
    slot_id: str = Field(description="The slot whose worker runs it.")
    slot_ids: tuple[str, ...] = Field(description="All its slots, in the order of its batches.")
    state: AttemptState
    worker: str | None
    pid: int | None
    assigned_at: datetime
    rung_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    seconds: float | None = Field(description="Wall time of the vendor process.")
    failure: Failure | None
    suspicion: Suspicion | None = Field(default=None, description="Why its slot was quarantined when it ended.")
    command: Document | None = Field(description="argv, environment and working folder of the process.")
    progress: Document | None
    telemetry: TelemetryView | None = None
    log_bytes: int
    log_digest: str | None = Field(description="The sealed log in the store; null while it is still shipped.")

    @computed_field  # type: ignore[prop-decorator]  # mypy knows no decorated property (python/mypy#14461)
    @property
    def exit_code(self) -> int | None:
        """What the vendor process exited with; null if it did not, or was ended by a signal."""
        if self.state is AttemptState.SUCCEEDED:
            return 0
        return self.failure.exit_code if self.failure else None


class MetricView(View):
    """One number; null if the tool printed something that is none."""

    attempt_id: int
    name: str
    value: float | None
    unit: str
    definition: str
    count: int
    counter: str | None


class CacheOutcome(StrEnum):
    """What the cache did for a job."""

    HIT = "hit"  #: The result of an identical earlier job was taken.
    JOINED = "joined"  #: It waits for an identical build in progress.
    MISS = "miss"  #: Nothing identical is stored: it is built.
    OFF = "off"  #: The request asked for a fresh build.
    PENDING = "pending"  #: Not all inputs are known yet.
    NEVER = "never"  #: This kind of job is never taken from the cache.


class CacheView(View):
    """What the cache did, and why."""

    outcome: CacheOutcome
    why: str
    job_id: int | None = Field(default=None, description="The job whose result was taken, or is waited for.")
    key: str | None = None
    parts: Document | None = None


class Timings(View):
    """How long each phase took or has taken so far, in seconds; null if it was never entered. All tries are running."""

    waiting: float | None
    queued: float | None
    running: float | None
    total: float


class JobDetail(JobView):
    """Everything known of one job."""

    spec: Document
    request: Document
    needs: tuple[JobReference, ...]
    needed_by: tuple[JobReference, ...]
    inputs: tuple[InputView, ...]
    attempts: tuple[AttemptView, ...]
    outputs: tuple[ArtifactView, ...]
    metrics: tuple[MetricView, ...]
    answers: int = Field(description="How many answers the latest attempt has.")
    endpoint: EndpointView | None = Field(default=None, description="For a server, while it is ready.")
    doubt: DoubtView | None = Field(default=None, description="Why its results are shown and not used.")
    cache: CacheView
    timings: Timings


class OriginView(View):
    """One input of a job, and the job that made it."""

    name: str
    digest: str | None
    file_name: str | None
    job: JobReference | None = Field(description="Null if it is not known, or the artifact came from outside.")


class UseView(View):
    """A job that took something that another job made."""

    job: JobReference
    name: str = Field(description="What it takes it as: kcore, c_source, gm.")


class LineageView(View):
    """From where a job has its inputs, and who took its outputs."""

    inputs: tuple[OriginView, ...]
    used_by: tuple[UseView, ...] = Field(description="The newest ones, up to 100.")


class EventView(View):
    """One thing that happened."""

    id: int
    at: datetime
    kind: str
    job_id: int | None
    attempt_id: int | None
    slot_id: str | None
    data: Document


class JobCount(View):
    """How many jobs fit a filter; no number is above 10,000."""

    matching: int
    changed: dict[Action, int] = Field(description="How many of them each order would change.")
    ended: int = Field(description="How many of them have ended and can be retried.")


class JobListRequest(Strict):
    """Filters of the list of jobs, to be kept under a name."""

    query: str = Field(
        max_length=2000, pattern=r"^[!-~]*$", description="As in the address of the list: `state=failed&project=nlp`."
    )
    opens_first: bool = Field(default=False, description="The list of jobs begins with it.")


class JobListView(View):
    """Filters of the list of jobs that you keep under a name."""

    name: str
    query: str
    opens_first: bool


class OrderOutcome(View):
    """The outcome of an action on one job."""

    job: int
    done: bool
    state: JobState | None = Field(description="Its state now; null if there is no such job.")
    code: str | None = Field(default=None, description="Why the action was refused, for a program.")
    detail: str | None = Field(default=None, description="Why, for a person.")


class OrderReport(View):
    """The outcome of an action on many jobs: everything possible is done, the rest is reported."""

    items: tuple[OrderOutcome, ...]
    done: int
    refused: int
    left: int = Field(default=0, description="More jobs that match the filter; send the same request again for them.")
