"""The documents about the queue as a whole."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from api.documents.jobs import JobReference
from orchestrator.scheduling.placement.explain import WaitReason


class QueueClassView(View):
    """Queued jobs that ask for the same slots, of one project at one priority."""

    demand: str = Field(description="The slots they ask for, e.g. `card_group g3`.")
    project: str
    priority: int
    jobs: int
    first: JobReference = Field(description="The one that comes first.")
    reasons: tuple[WaitReason, ...] = Field(description="What the first one waits for; empty: placed in the next turn.")
    earliest_start: datetime | None = Field(description="A forecast for the first one; null if unknown.")


class QueueView(View):
    """What waits for slots and why, and which job comes next where."""

    classes: tuple[QueueClassView, ...] = Field(description="The longest first.")
    more: int = Field(description="Further classes.")
    next_jobs: dict[str, int] = Field(description="By slot, the job that comes next there as the queue stands now.")
