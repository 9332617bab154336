"""The documents about who runs when and why: explanations of jobs, and projects with their shares.

Like `api.documents.base`, of which they are a part; the command line imports this module.
"""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from api.documents.jobs import CacheOutcome, JobReference
from orchestrator.model.history import ChangedInput, PastAttempt
from orchestrator.scheduling.placement.explain import WaitReason


class PastView(View):
    """One decision about a job: submitted, placed, retried, cache_missed, from_cache or ended; and why."""

    at: datetime
    about: str
    why: str
    slot_id: str | None


class CacheReviewView(View):
    """What the cache did for a job, and of a miss what was different."""

    outcome: CacheOutcome
    why: str
    job_id: int | None = Field(description="The job whose result was taken, or is waited for.")
    nearest: int | None = Field(description="For a miss: the earlier build that differs in the fewest parts.")
    changed: tuple[ChangedInput, ...] = Field(description="What differs from that build.")


class ExplanationView(View):
    """Why a job is in its state."""

    job: JobReference
    reasons: tuple[WaitReason, ...] = Field(
        description="Everything it waits for; empty if it runs, has ended, or will be placed in the next turn."
    )
    earliest_start: datetime | None = Field(
        description="A forecast from the jobs before it and the run times of similar jobs; null if unknown."
    )
    past: tuple[PastView, ...]
    tries: tuple[PastAttempt, ...] = Field(default=(), description="Every attempt, and why it was retried.")
    cache: CacheReviewView | None = None
