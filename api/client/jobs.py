"""The client's calls about jobs."""

import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import httpx2

from api.client.connection import Calls, ServerUnreachable, seconds_left, segment, sent
from api.documents.answers import AnswerView
from api.documents.base import Page
from api.documents.jobs import (
    CheckedJob,
    EventView,
    JobCount,
    JobDetail,
    JobListRequest,
    JobListView,
    JobView,
    LineageView,
    OrderReport,
)
from orchestrator.model.orders import BulkOrder
from orchestrator.model.specs import JobRequest
from orchestrator.model.states import FINAL

if TYPE_CHECKING:
    from api.documents.explanations import ExplanationView
    from api.documents.queue import QueueView

MOST_JOBS_ASKED = 100
"""For more jobs than this the events of all jobs are followed, because the length of a URL is limited."""


class JobCalls(Calls):
    """One method per route; every `Client` has them."""

    def submit(self, request: JobRequest, key: str | None = None) -> JobView:
        """Submit a job; with the same `key`, a repeated request creates only one."""
        return JobView.model_validate(self._connection.post("/jobs", sent(request), key=key).json())

    def check(self, request: JobRequest) -> CheckedJob:
        """Check a job as its submission would; nothing is made."""
        return CheckedJob.model_validate(self._connection.post("/jobs/check", sent(request)).json())

    def submit_many(self, requests: Iterable[JobRequest], key: str | None = None) -> tuple[JobView, ...]:
        """Submit all jobs or none."""
        answer = self._connection.post("/jobs/bulk", {"jobs": [sent(request) for request in requests]}, key=key)
        return Page[JobView].model_validate(answer.json()).items

    def jobs(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[JobView]:
        """A page of jobs, newest first.

        Filters are `state` (one or several), `kind`, `project`, `model`, `pipeline`, `batch`, `slot`, `name`,
        `submitted_by`, `since` and `until` (ISO times with their zone), `release`, `failure`, `failed_after` and `q`.
        """
        return self._connection.page(JobView, "/jobs", {"limit": limit, "cursor": cursor, **filters})

    def all_jobs(self, **filters: Any) -> Iterator[JobView]:
        """Every matching job, newest first, page after page."""
        cursor: str | None = None
        while True:
            page = self.jobs(limit=500, cursor=cursor, **filters)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def count_jobs(self, **filters: Any) -> JobCount:
        """How many jobs fit, and how many of them each order would change; filters are those of `jobs`."""
        return JobCount.model_validate(self._connection.get("/jobs/count", filters).json())

    def job_lists(self) -> tuple[JobListView, ...]:
        """The filters that this token keeps."""
        return self._connection.page(JobListView, "/job-lists", {}).items

    def keep_job_list(self, name: str, request: JobListRequest) -> JobListView:
        """Keep filters under a name."""
        return JobListView.model_validate(self._connection.put(f"/job-lists/{segment(name)}", sent(request)).json())

    def delete_job_list(self, name: str) -> None:
        """Delete filters that are kept."""
        self._connection.delete(f"/job-lists/{segment(name)}")

    def lineage(self, job: int) -> LineageView:
        """Which jobs made the inputs of a job, and which took its outputs."""
        return LineageView.model_validate(self._connection.get(f"/jobs/{segment(job)}/lineage").json())

    def job(self, job: int) -> JobDetail:
        """Everything known about a job."""
        return JobDetail.model_validate(self._connection.get(f"/jobs/{segment(job)}").json())

    def answers(
        self, job: int, attempt: int | None = None, limit: int = 100, cursor: str | None = None, **filters: Any
    ) -> Page[AnswerView]:
        """A page of the answers of the latest attempt, or of attempt number `attempt`.

        Filters are `index` (of the question, from 0) and `exact` (False: those that differ from their golden ones)."""
        query = {"attempt": attempt, "limit": limit, "cursor": cursor, **filters}
        return self._connection.page(AnswerView, f"/jobs/{segment(job)}/answers", query)

    def all_answers(self, job: int, attempt: int | None = None, **filters: Any) -> Iterator[AnswerView]:
        """Every matching answer, page after page."""
        cursor: str | None = None
        while True:
            page = self.answers(job, attempt, limit=500, cursor=cursor, **filters)
            yield from page.items
            cursor = page.next
            if cursor is None:
                return

    def explain(self, job: int) -> "ExplanationView":
        """Everything a job waits for, when it may start, and the decisions that led to its state."""
        from api.documents.explanations import ExplanationView  # all of placement's words

        return ExplanationView.model_validate(self._connection.get(f"/jobs/{segment(job)}/explain").json())

    def queue(self) -> "QueueView":
        """What waits for slots and why, and which job comes next on which slot."""
        from api.documents.queue import QueueView  # all of placement's words

        return QueueView.model_validate(self._connection.get("/queue").json())

    def cancel(self, job: int, note: str | None = None, *, version: int | None = None) -> JobView:
        """Cancel a job; with `version`, only if the job has not changed since that version."""
        headers = {} if version is None else {"If-Match": f'"{version}"'}
        answer = self._connection.post(f"/jobs/{segment(job)}/cancel", {"note": note}, headers=headers)
        return JobView.model_validate(answer.json())

    def stop(self, job: int, note: str | None = None) -> JobView:
        """Stop a server gracefully; it has succeeded then."""
        return JobView.model_validate(self._connection.post(f"/jobs/{segment(job)}/stop", {"note": note}).json())

    def hold(self, job: int, note: str | None = None) -> JobView:
        """Hold a job: it is not placed until the hold is removed."""
        return JobView.model_validate(self._connection.post(f"/jobs/{segment(job)}/hold", {"note": note}).json())

    def unhold(self, job: int, note: str | None = None) -> JobView:
        """Remove a hold."""
        return JobView.model_validate(self._connection.post(f"/jobs/{segment(job)}/unhold", {"note": note}).json())

    def order(self, order: BulkOrder) -> OrderReport:
        """Carry out one order for many jobs; the report has one outcome per job."""
        return OrderReport.model_validate(self._connection.post("/jobs/actions", sent(order), timeout=None).json())

    def retry(self, job: int, key: str | None = None) -> JobView:
        """Make a new job from the request of a finished one."""
        return JobView.model_validate(self._connection.post(f"/jobs/{segment(job)}/retry", key=key).json())

    def wait(self, jobs: Iterable[int], timeout: float | None = None) -> dict[int, JobDetail]:
        """All these jobs, once all have ended; TimeoutError after `timeout` seconds, of which 0 looks once."""
        deadline = None if timeout is None else time.monotonic() + timeout
        pending, ended = set(jobs), dict[int, JobDetail]()
        if timeout is not None and timeout <= 0:
            ended = self._ended(pending)
            pending -= ended.keys()
        while pending:
            try:
                for candidates in self._changes(pending, deadline):
                    ended |= self._ended(candidates)
                    pending -= ended.keys()
                    if not pending:
                        break
            except ServerUnreachable:
                # A proxy may pass requests and block streams; if no server answers at all, this reports it.
                ended |= self._ended(pending)
                pending -= ended.keys()
                self._connection.pause(deadline)
        return ended

    def bundle(self, job: int, compression: str = "zst", *, with_artifacts: bool = False) -> Iterator[bytes]:
        """The handover bundle of a job, as it arrives: a .tar.zst, or a .tar.gz with `gz`."""
        query = {"compression": compression, "with_artifacts": with_artifacts or None}
        return self._connection.bytes(f"/jobs/{segment(job)}/bundle", query)

    def _ended(self, jobs: Iterable[int]) -> dict[int, JobDetail]:
        return {job.id: job for job in map(self.job, sorted(jobs)) if job.state in FINAL}

    def _changes(self, jobs: set[int], deadline: float | None) -> Iterator[set[int]]:
        """The jobs to check: all when a stream was opened, later those that have ended according to an event.

        The first check comes after the stream is open, so that no end is missed between the two.
        """
        asked = {"job": sorted(jobs) if len(jobs) <= MOST_JOBS_ASKED else [], "seconds": seconds_left(deadline)}
        for event in self._connection.follow("/events", asked, deadline=deadline):
            yield jobs & _ended_by(event) if event.data else set(jobs)


def _ended_by(event: httpx2.ServerSentEvent) -> set[int]:
    told = EventView.model_validate_json(event.data)
    return {told.job_id} if told.job_id is not None and told.kind.removeprefix("job.") in FINAL else set()
