"""A typed client of the API: one method a route, and streams that survive a broken connection.

Knows HTTP and the documents of `api.documents.base`, nothing else; the command line is built on it.
"""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx2
from pydantic import BaseModel

from api.client.batches import BatchCalls
from api.client.connection import ApiError, Connection, ServerUnreachable, seconds_left
from api.client.endpoints import EndpointCalls
from api.client.imports import ImportCalls
from api.client.provisioning import ProvisionCalls
from api.client.releases import ReleaseCalls
from api.client.reservations import ReservationCalls
from api.client.uploads import send
from api.documents.answers import AnswerView
from api.documents.artifacts import ArtifactView, EntryView
from api.documents.base import Page
from api.documents.canaries import CanaryView
from api.documents.explanations import ExplanationView
from api.documents.health import Readiness
from api.documents.hosts import HostDetail, HostView
from api.documents.jobs import EventView, JobDetail, JobView, OrderReport
from api.documents.models import ModelDetail, ModelView
from api.documents.pipelines import PipelineDetail, PipelineView
from api.documents.projects import ProjectView
from api.documents.slots import SlotHistory, SlotView
from api.documents.tokens import NewToken, TokenRequest, TokenView
from orchestrator.model.orders import Action, BulkOrder
from orchestrator.model.specs import CanarySpec, JobRequest, PipelineRequest
from orchestrator.model.states import FINAL

MOST_JOBS_ASKED = 100
"""For more jobs than this the events of all jobs are followed: an address has only so much room."""

__all__ = ["ApiError", "Client", "LogPiece", "LogTail", "ServerUnreachable"]


@dataclass(frozen=True)
class LogPiece:
    """Text of an attempt's log; `offset` is the byte after it, from which reading can go on."""

    attempt: int
    offset: int
    text: str


@dataclass(frozen=True)
class LogTail:
    """The last bytes of an attempt's log; `offset` is the byte after them, where `stream_log` goes on."""

    content: bytes
    offset: int
    attempt: int


class Client(ReleaseCalls):
    """Speaks to one server with one token. Use it as a context manager, or close it."""

    def __init__(self, base_url: str, token: str, timeout: float = 30.0) -> None:
        self._connection = Connection(base_url, token, timeout)
        self.batches = BatchCalls(self._connection)
        self.reservations = ReservationCalls(self._connection)
        self.imports = ImportCalls(self._connection)
        self.endpoints = EndpointCalls(self._connection)
        self.provisioning = ProvisionCalls(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give the connections back."""
        self._connection.close()

    # ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────

    def submit(self, request: JobRequest, key: str | None = None) -> JobView:
        """Make a job; with the same `key`, saying it twice makes one."""
        return JobView.model_validate(self._connection.post("/jobs", _sent(request), key=key).json())

    def submit_many(self, requests: Iterable[JobRequest], key: str | None = None) -> tuple[JobView, ...]:
        """Make all jobs or none."""
        answer = self._connection.post("/jobs/bulk", {"jobs": [_sent(request) for request in requests]}, key=key)
        return Page[JobView].model_validate(answer.json()).items

    def jobs(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[JobView]:
        """A page of jobs, newest first.

        Filters are `state` (one or several), `kind`, `project`, `model`, `pipeline`, `batch`, `slot`, `name` and `q`.
        """
        return self._connection.page(JobView, "/jobs", {"limit": limit, "cursor": cursor, **filters})

    def all_jobs(self, **filters: Any) -> Iterator[JobView]:
        """Every job that fits, newest first, page after page."""
        cursor: str | None = None
        while True:
            page = self.jobs(limit=500, cursor=cursor, **filters)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def job(self, job: int) -> JobDetail:
        """Everything known of a job."""
        return JobDetail.model_validate(self._connection.get(f"/jobs/{job}").json())

    def answers(
        self, job: int, attempt: int | None = None, limit: int = 100, cursor: str | None = None
    ) -> Page[AnswerView]:
        """A page of the answers of the latest attempt, or of attempt number `attempt`."""
        return self._connection.page(
            AnswerView, f"/jobs/{job}/answers", {"attempt": attempt, "limit": limit, "cursor": cursor}
        )

    def explain(self, job: int) -> ExplanationView:
        """Everything a job waits for, when it may start, and why it came to be where it is."""
        return ExplanationView.model_validate(self._connection.get(f"/jobs/{job}/explain").json())

    def cancel(self, job: int, note: str | None = None, *, version: int | None = None) -> JobView:
        """Ask for a job to stop; with `version`, only if nothing changed since it was seen."""
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        answer = self._connection.post(f"/jobs/{job}/cancel", {"note": note}, headers=headers)
        return JobView.model_validate(answer.json())

    def retry(self, job: int, key: str | None = None) -> JobView:
        """Make a new job from the request of a finished one."""
        return JobView.model_validate(self._connection.post(f"/jobs/{job}/retry", key=key).json())

    def hold(self, job: int, note: str | None = None) -> JobView:
        """Keep a job from being placed until it is released."""
        return JobView.model_validate(self._connection.post(f"/jobs/{job}/hold", {"note": note}).json())

    def release_job(self, job: int, note: str | None = None) -> JobView:
        """Undo a hold."""
        return JobView.model_validate(self._connection.post(f"/jobs/{job}/release", {"note": note}).json())

    def order(self, order: BulkOrder) -> OrderReport:
        """Do one thing to many jobs; the report says of each what became of it."""
        return OrderReport.model_validate(self._connection.post("/jobs/actions", _sent(order), timeout=None).json())

    # ── pipelines ────────────────────────────────────────────────────────────────────────────────────────────────────

    def submit_pipeline(self, request: PipelineRequest, key: str | None = None) -> PipelineDetail:
        """Make a pipeline with all its jobs, or nothing."""
        return PipelineDetail.model_validate(self._connection.post("/pipelines", _sent(request), key=key).json())

    def pipelines(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[PipelineView]:
        """A page of pipelines, newest first; filters are `project` and `name`."""
        return self._connection.page(PipelineView, "/pipelines", {"limit": limit, "cursor": cursor, **filters})

    def pipeline(self, pipeline: int) -> PipelineDetail:
        """A pipeline with its jobs."""
        return PipelineDetail.model_validate(self._connection.get(f"/pipelines/{pipeline}").json())

    def order_pipeline(
        self, pipeline: int, action: Action, note: str | None = None, priority: int | None = None
    ) -> OrderReport:
        """Hold, release, reprioritise or move to the front all jobs of a pipeline that have not ended."""
        body = {"note": note, **({} if priority is None else {"priority": priority})}
        return OrderReport.model_validate(self._connection.post(f"/pipelines/{pipeline}/{action}", body).json())

    # ── artifacts ────────────────────────────────────────────────────────────────────────────────────────────────────

    def artifacts(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[ArtifactView]:
        """A page of artifacts, newest first; filters are `job`, `name` and `digest`."""
        return self._connection.page(ArtifactView, "/artifacts", {"limit": limit, "cursor": cursor, **filters})

    def artifact(self, artifact: int) -> ArtifactView:
        """One artifact."""
        return ArtifactView.model_validate(self._connection.get(f"/artifacts/{artifact}").json())

    def entries(self, artifact: int) -> tuple[EntryView, ...]:
        """The files of a tree."""
        return Page[EntryView].model_validate(self._connection.get(f"/artifacts/{artifact}/entries").json()).items

    def content(self, artifact: int, path: str | None = None) -> Iterator[bytes]:
        """The bytes of a file; of a tree, one file by its `path`, or all of them as a .tar."""
        return self._connection.bytes(f"/artifacts/{artifact}/content", {"path": path})

    # ── models, releases, slots ──────────────────────────────────────────────────────────────────────────────────────

    def register_model(
        self, name: str, path: str, official_config: str | None = None, tx81_config: str | None = None
    ) -> ModelDetail:
        """Register a weights directory under an allowed root of the server; hashing it takes a while."""
        body = {"name": name, "path": path, "official_config": official_config, "tx81_config": tx81_config}
        return ModelDetail.model_validate(self._connection.post("/models", body, timeout=None).json())

    def upload_model(
        self, name: str, archive: Path, told: Callable[[int, int], None], official_config: str | None = None,
        tx81_config: str | None = None,
    ) -> ModelDetail:  # fmt: skip
        """Send an archive of weights, or the rest of it, and register what it holds; `told` hears how far it is."""
        body = {"name": name, "official_config": official_config, "tx81_config": tx81_config}
        body["upload"] = send(self._connection, archive, told)
        return ModelDetail.model_validate(self._connection.post("/models", body, timeout=None).json())

    def models(self) -> tuple[ModelView, ...]:
        """All models."""
        return self._connection.page(ModelView, "/models", {}).items

    def model(self, name: str) -> ModelDetail:
        """One model."""
        return ModelDetail.model_validate(self._connection.get(f"/models/{name}").json())

    def slots(self) -> tuple[SlotView, ...]:
        """All slots of all hosts."""
        return self._connection.page(SlotView, "/slots", {}).items

    def slot(self, slot: str) -> SlotHistory:
        """One slot (`HOST.g3`): the jobs that wait for it alone, and what speaks for and against its cards."""
        return SlotHistory.model_validate(self._connection.get(f"/slots/{slot}").json())

    def drain(self, slot: str, note: str | None = None) -> SlotView:
        """Let a slot finish what it runs and take no more."""
        return SlotView.model_validate(self._connection.post(f"/slots/{slot}/drain", {"note": note}).json())

    def resume(self, slot: str, note: str | None = None) -> SlotView:
        """Give a slot work again."""
        return SlotView.model_validate(self._connection.post(f"/slots/{slot}/resume", {"note": note}).json())

    def quarantine(self, slot: str, note: str | None = None) -> SlotView:
        """Give a suspect slot no work until someone resumes it."""
        return SlotView.model_validate(self._connection.post(f"/slots/{slot}/quarantine", {"note": note}).json())

    def set_canary(self, release: str, spec: CanarySpec) -> CanaryView:
        """Make this what checks the cards of quarantined slots, for a release."""
        return CanaryView.model_validate(
            self._connection.put(f"/canaries/{quote(release, safe='')}", _sent(spec)).json()
        )

    def canaries(self) -> tuple[CanaryView, ...]:
        """All canaries."""
        return self._connection.page(CanaryView, "/canaries", {}).items

    def run_canary(self, slot: str, key: str | None = None) -> JobView:
        """Check a slot's cards now; the job that does it."""
        return JobView.model_validate(self._connection.post(f"/slots/{slot}/canary", key=key).json())

    def hosts(self) -> tuple[HostView, ...]:
        """All hosts."""
        return self._connection.page(HostView, "/hosts", {}).items

    def host(self, name: str) -> HostDetail:
        """One host with its slots."""
        return HostDetail.model_validate(self._connection.get(f"/hosts/{quote(name, safe='')}").json())

    def projects(self) -> tuple[ProjectView, ...]:
        """All projects."""
        return self._connection.page(ProjectView, "/projects", {}).items

    def set_weight(self, project: str, weight: float) -> ProjectView:
        """Give a project a weight beside the others."""
        return ProjectView.model_validate(
            self._connection.put(f"/projects/{quote(project, safe='')}", {"weight": weight}).json()
        )

    def tokens(self) -> tuple[TokenView, ...]:
        """All tokens, without what they are."""
        return self._connection.page(TokenView, "/tokens", {}).items

    def make_token(self, request: TokenRequest) -> NewToken:
        """Make a token; the answer is the only place where it can be read."""
        return NewToken.model_validate(self._connection.post("/tokens", _sent(request)).json())

    def revoke_token(self, name: str) -> None:
        """Refuse a token from now on."""
        self._connection.delete(f"/tokens/{quote(name, safe='')}")

    def ready(self) -> Readiness:
        """Whether the server can do its work; asked without a token."""
        return Readiness.model_validate(self._connection.probe("/health/ready").json())

    # ── logs, events, waiting ────────────────────────────────────────────────────────────────────────────────────────

    def log(self, job: int, attempt: int | None = None) -> Iterator[bytes]:
        """The log of the latest attempt, or of attempt number `attempt`, as the tool wrote it."""
        return self._connection.bytes(f"/jobs/{job}/log", {"attempt": attempt})

    def log_tail(self, job: int, lines: int, attempt: int | None = None) -> LogTail:
        """The last lines of a log, and where to follow on."""
        answer = self._connection.get(f"/jobs/{job}/log", {"tail": lines, "attempt": attempt})
        return LogTail(
            answer.content, int(answer.headers["Log-Offset"]) + len(answer.content), int(answer.headers["Log-Attempt"])
        )

    def stream_log(self, job: int, offset: int = 0, attempt: int | None = None) -> Iterator[LogPiece]:
        """The log as it grows, until the job has ended, going on by itself after a broken connection.

        Starts in the latest attempt, or in attempt number `attempt`, and follows on to later ones.
        """
        for event in self._connection.follow(f"/jobs/{job}/log/stream", {}, f"{attempt or 0}:{offset}"):
            if event.event == "end":
                return
            if event.event == "message" and event.data:
                number, _, after = event.id.partition(":")
                yield LogPiece(int(number), int(after), json.loads(event.data)["text"])

    def events(
        self,
        after: int | None = None,
        *,
        jobs: Iterable[int] = (),
        pipeline: int | None = None,
        batch: int | None = None,
    ) -> Iterator[EventView]:
        """What happens from now on, or after event `after`, without end.

        Goes on by itself after a broken connection, without a gap.
        """
        asked = {"job": list(jobs), "pipeline": pipeline, "batch": batch}
        for event in self._connection.follow("/events", asked, None if after is None else str(after)):
            if event.data:
                yield EventView.model_validate_json(event.data)

    def wait(self, jobs: Iterable[int], timeout: float | None = None) -> dict[int, JobDetail]:
        """All these jobs, once all have ended; TimeoutError after `timeout` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pending, ended = set(jobs), dict[int, JobDetail]()
        while pending:
            try:
                for candidates in self._changes(pending, deadline):
                    ended |= self._ended(candidates)
                    pending -= ended.keys()
                    if not pending:
                        break
            except ServerUnreachable:
                # A proxy may let requests through and hold streams back; if nobody is there at all, this says so.
                ended |= self._ended(pending)
                pending -= ended.keys()
                self._connection.pause(deadline)
        return ended

    def _ended(self, jobs: Iterable[int]) -> dict[int, JobDetail]:
        return {job.id: job for job in map(self.job, sorted(jobs)) if job.state in FINAL}

    def _changes(self, jobs: set[int], deadline: float | None) -> Iterator[set[int]]:
        """The jobs to look at: all when a stream was opened, later those that an event says have ended.

        The first look comes after the stream is open, so that no end falls between the two.
        """
        asked = {"job": sorted(jobs) if len(jobs) <= MOST_JOBS_ASKED else [], "seconds": seconds_left(deadline)}
        for event in self._connection.follow("/events", asked, deadline=deadline):
            yield jobs & _ended_by(event) if event.data else set(jobs)


def _sent(document: BaseModel) -> Any:
    return document.model_dump(mode="json", exclude_unset=True)


def _ended_by(event: httpx2.ServerSentEvent) -> set[int]:
    told = EventView.model_validate_json(event.data)
    return {told.job_id} if told.job_id is not None and told.kind.removeprefix("job.") in FINAL else set()
