"""What placement knows about a queued job, and what it decides for it."""

from dataclasses import dataclass, field
from datetime import timedelta

from orchestrator.model.demand import Demand
from orchestrator.model.specs import LONGEST_SECONDS


@dataclass(frozen=True)
class Candidate:
    """A queued job; within one priority the lowest `rank` comes first.

    `avoid` are slots where it failed before: taken only when nothing else is free.
    """

    job_id: int
    demand: Demand
    priority: int
    """The present priority, raised by waiting."""
    avoid: frozenset[str] = frozenset()
    rank: int = 0
    """Below 0 after it was moved to the front of its priority; the later, the lower."""
    project: str = "default"
    kcore: str | None = None
    """Digest of the kernel image it runs: a slot that ran the same one last is preferred."""
    run_limit: timedelta = timedelta(seconds=LONGEST_SECONDS)
    """Time after which an attempt is stopped; the maximum if no limit was given."""


@dataclass(frozen=True)
class Placement:
    """This job runs on these slots of one host, the lowest number first, and `why` these of all free slots."""

    job_id: int
    slot_ids: tuple[str, ...]
    why: str = field(default="", compare=False)
