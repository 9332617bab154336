"""The documents about who runs when and why: explanations of jobs, and projects with their shares.

Like `api.documents.base`, of which they are a part; the command line imports this module.
"""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.documents.base import View
from api.documents.jobs import CacheOutcome, JobReference
from orchestrator.model.failures import Failure
from orchestrator.model.states import AttemptState
from orchestrator.scheduling.placement.explain import WaitsFor


class ReasonView(View):
    """One thing that a job waits for."""

    kind: WaitsFor
    detail: str
    job_id: int | None
    slot_id: str | None
    project: str | None
    host: str | None = Field(description="For gathering: the host that has some of the slots it needs.")
    count: int | None = Field(
        description="For behind_in_queue: number of jobs of its class before it; for gathering: free slots of `host`."
    )
    until: datetime | None = Field(
        description="For slot_busy: when the job on the slot reaches its run limit; for gathering and kept_for_gang: "
        "when the gang starts at the latest; for reserved: when the reservation ends."
    )


class PastView(View):
    """One decision about a job: placed, retried, cache_missed, from_cache or ended; and why."""

    at: datetime
    about: str
    why: str
    slot_id: str | None


class TriedView(View):
    """One attempt: where it ran and why there, how it ended, and why another one followed."""

    number: int
    slot_id: str
    state: AttemptState
    started_at: datetime | None
    ended_at: datetime | None
    failure: Failure | None
    placed_because: str | None
    again_because: str | None = Field(description="Null if the job was not queued again after it.")


class ChangedInputView(View):
    """One part of a build that was another in the nearest earlier one; null where one of them had no such part."""

    part: str = Field(description="`kind`, `release`, `parameter NAME` or `input NAME`.")
    before: Any
    after: Any
    before_from: int | None = Field(description="The job that produced the artifact; null if it is not an artifact.")
    after_from: int | None


class CacheReviewView(View):
    """What the cache did for a job, and of a miss what was different."""

    outcome: CacheOutcome
    why: str
    job_id: int | None = Field(description="The job whose result was taken, or is waited for.")
    nearest: int | None = Field(description="For a miss: the earlier build that differs in the fewest parts.")
    changed: tuple[ChangedInputView, ...] = Field(description="What differs from that build.")


class ExplanationView(View):
    """Why a job stands where it stands."""

    job: JobReference
    reasons: tuple[ReasonView, ...] = Field(
        description="Everything it waits for; empty if it runs, has ended, or will be placed in the next turn."
    )
    earliest_start: datetime | None = Field(
        description="A forecast from the jobs before it and the run times of similar jobs; null if unknown."
    )
    past: tuple[PastView, ...]
    tries: tuple[TriedView, ...] = Field(default=(), description="Every attempt, and why it was retried.")
    cache: CacheReviewView | None = None
