"""Who comes first: priority raised by waiting, then what people moved to the front of it, then the project that has had
least of its share, then age.

Between two jobs the first difference decides. What follows from that, and is tested:

- A job of priority p counts as most urgent after waiting (9 - p) agings, whatever arrives meanwhile. From then on only
  older jobs of its own project, and projects that have had less of their share, come before it: nothing starves.
- A job that was moved to the front counts as urgent as the oldest job of its priority: it goes before all of them.
- Projects that always have work get slots in the proportion of their weights, at each level of priority.
"""

from dataclasses import dataclass, replace
from datetime import timedelta

MOST_URGENT = 9

LEAST_CHARGE = 60.0
"""Slot-seconds that a slot counts as while it is held, however short it has been: so that a project which has had a
second less than another does not get every slot that is free in one turn."""


@dataclass(frozen=True)
class Share:
    """What a project has had, in slot-seconds that fade away, and what it is entitled to beside the others."""

    used: float = 0.0
    weight: float = 1.0

    @property
    def standing(self) -> float:
        """Slot-seconds for each unit of weight; the lowest comes first."""
        return self.used / self.weight

    def charged(self, seconds: float) -> "Share":
        """The share after `seconds` more."""
        return replace(self, used=self.used + seconds)


UNUSED = Share()
"""Of a project that nobody has said anything about yet."""


def faded(seconds: float, *, age: timedelta, half_life: timedelta) -> float:
    """What is left of `seconds` after `age`: half after each half-life. Clocks that went back fade nothing."""
    return float(seconds * 0.5 ** (max(age, timedelta(0)) / half_life))


def urgency(priority: int, *, waited: timedelta, aging: timedelta) -> int:
    """The priority, one higher for each `aging` waited, never above the most urgent one."""
    return min(MOST_URGENT, priority + max(0, waited // aging))


def waited_for(priority: int, level: int, *, aging: timedelta) -> timedelta:
    """How long a job of `priority` has to wait until its urgency is `level`."""
    return aging * max(0, level - priority)


def place_in_line(urgency: int, rank: int, share: Share, job_id: int) -> tuple[int, int, float, int]:
    """The order as a key for sorting, lowest first; jobs are numbered in the order in which they came."""
    return -urgency, rank, share.standing, job_id
