"""From rows to the documents of `api.documents.base`. Pure: what is shown depends on the rows and a moment alone."""

from datetime import datetime
from typing import Any

from api.documents.answers import AnswerView
from api.documents.explanations import ExplanationView
from api.documents.jobs import (
    CacheOutcome,
    CacheView,
    CheckedJob,
    JobDetail,
    JobView,
    OrderOutcome,
    OrderReport,
    Timings,
)
from api.views.doubts import doubt_view
from orchestrator.jobs.history import Review
from orchestrator.jobs.orders import Report
from orchestrator.jobs.queries import JobFacts, ListedJob
from orchestrator.model.demand import Demand
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.model.specs import BUILD_KINDS
from orchestrator.model.states import JobState
from orchestrator.scheduling.explanation import Explanation
from orchestrator.storage.tables import Answer, Attempt, Job
from orchestrator.submission.drafts import Draft

_COLUMNS = tuple(name for name in JobView.model_fields if hasattr(Job, name) and name != "slot")


def job_view(listed: ListedJob) -> JobView:
    """A job as lists show it."""
    return JobView.model_validate(_job_fields(listed))


def job_detail(facts: JobFacts) -> JobDetail:
    """Everything known of a job."""
    job = facts.listed.job
    return JobDetail.model_validate(
        {
            **_job_fields(facts.listed),
            "spec": job.spec,
            "request": job.request,
            "needs": facts.needs,
            "needed_by": facts.needed_by,
            "inputs": facts.inputs,
            "attempts": facts.attempts,
            "outputs": facts.outputs,
            "metrics": facts.metrics,
            "answers": facts.answers,
            "endpoint": facts.endpoint,
            "doubt": facts.doubt and doubt_view(facts.doubt, job.id, job.name),
            "cache": cache_view(job, facts.queued_because),
            "timings": timings(job, facts.now),
        }
    )


def checked_job(draft: Draft) -> CheckedJob:
    """What a job would be that was only checked."""
    shown = {name: draft.job[name] for name in CheckedJob.model_fields if name in draft.job}
    unlimited = Demand.parse(draft.job["demand"]).unlimited.key()
    return CheckedJob.model_validate(
        {**shown, "demand": unlimited, "files": {name: taken.digest for name, taken in draft.files.items()}}
    )


def answer_view(answer: Answer, attempt: Attempt) -> AnswerView:
    """An answer, with the slot that gave it: None of a client's, whose answers come from the slots of servers."""
    told = AnswerView.model_validate(answer)
    if SlotName.parse(attempt.slot_ids[0].rpartition(".")[2]).kind is SlotKind.CPU:
        return told
    return told.model_copy(update={"slot_id": attempt.slot_ids[answer.batch]})


def cache_view(job: Job, queued_because: str | None) -> CacheView:
    """What the cache did for a job, from its row and from what was said when it was queued."""
    if job.kind not in BUILD_KINDS:
        return CacheView(outcome=CacheOutcome.NEVER, why=f"the result of {job.kind} depends on more than its inputs")
    known: dict[str, Any] = {"key": job.cache_key, "parts": job.cache_parts}
    if job.cached_from is not None:
        why = f"job {job.cached_from} was built from the same inputs"
        return CacheView(outcome=CacheOutcome.HIT, why=why, job_id=job.cached_from, **known)
    if job.joined_to is not None:
        why = f"job {job.joined_to} is running the same build"
        return CacheView(outcome=CacheOutcome.JOINED, why=why, job_id=job.joined_to, **known)
    if not job.request.get("use_cache", True):
        return CacheView(outcome=CacheOutcome.OFF, why="the request says use_cache: false", **known)
    if job.cache_key is None:
        return CacheView(outcome=CacheOutcome.PENDING, why="not all of its inputs are known", **known)
    return CacheView(outcome=CacheOutcome.MISS, why=queued_because or "no identical build is stored", **known)


def explanation_view(found: Explanation, review: Review) -> ExplanationView:
    """Why a job is in its state, and its history."""
    cache = cache_view(review.job, review.queued_because)
    told = {"outcome": cache.outcome, "why": cache.why, "job_id": cache.job_id}
    fields = {name: getattr(found, name) for name in ("job", "reasons", "earliest_start", "past")}
    compared = {"nearest": review.nearest, "changed": review.changed}
    return ExplanationView.model_validate({**fields, "tries": review.tries, "cache": {**told, **compared}})


def timings(job: Job, now: datetime) -> Timings:
    """How long each phase took, or has taken up to `now`."""
    ended = job.ended_at or now
    # Of a job that was tried again only its latest time in the queue is known, and it has begun before that.
    queued_at = job.queued_at and min(job.queued_at, job.started_at or job.queued_at)
    return Timings(
        waiting=_seconds(job.created_at, queued_at or ended),
        queued=None if queued_at is None else _seconds(queued_at, job.started_at or ended),
        running=None if job.started_at is None else _seconds(job.started_at, ended),
        total=_seconds(job.created_at, ended),
    )


def order_report(report: Report) -> OrderReport:
    """The outcome of an action, job by job."""
    items = tuple(
        OrderOutcome(
            job=outcome.job_id,
            done=outcome.refused is None,
            state=outcome.state,
            code=None if outcome.refused is None else outcome.refused.code,
            detail=None if outcome.refused is None else outcome.refused.detail,
        )
        for outcome in report.outcomes
    )
    done = sum(item.done for item in items)
    return OrderReport(items=items, done=done, refused=len(items) - done, left=report.left)


def _job_fields(listed: ListedJob) -> dict[str, Any]:
    job = listed.job
    return {
        **{name: getattr(job, name) for name in _COLUMNS},
        "model": job.spec.get("model"),
        "slot": ", ".join(Demand.parse(job.demand).only) or None,
        "last_slot_id": listed.last_slot_ids and listed.last_slot_ids[0],
        "last_slot_ids": listed.last_slot_ids or (),
        "progress": listed.progress if job.state is JobState.RUNNING else None,
    }


def _seconds(start: datetime, end: datetime) -> float:
    return max((end - start).total_seconds(), 0.0)
