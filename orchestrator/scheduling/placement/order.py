"""The order of jobs: priority raised by waiting, then jobs moved to the front of their priority, then the project that
has used the least of its share, then age.

Between two jobs the first difference decides. What follows from that, and is tested:

- A job of priority p counts as most urgent after waiting (9 - p) agings, whatever arrives meanwhile. From then on only
  older jobs of its own project, and projects that have had less of their share, come before it: nothing starves.
- A job that was moved to the front counts as urgent as the oldest job of its priority: it goes before all of them.
- Projects that always have work get slots in the proportion of their weights, at each level of priority.
"""

from datetime import timedelta

from orchestrator.model.shares import Share

MOST_URGENT = 9


def urgency(priority: int, *, waited: timedelta, aging: timedelta) -> int:
    """The priority, one higher for each `aging` waited, never above the most urgent one."""
    return min(MOST_URGENT, priority + max(0, waited // aging))


def waited_for(priority: int, level: int, *, aging: timedelta) -> timedelta:
    """How long a job of `priority` has to wait until its urgency is `level`."""
    return aging * max(0, level - priority)


def place_in_line(urgency: int, rank: int, share: Share, job_id: int) -> tuple[int, int, float, int]:
    """The order as a key for sorting, lowest first; jobs are numbered in the order in which they came."""
    return -urgency, rank, share.standing, job_id
