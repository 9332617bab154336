"""A project's use of the slots and its weight: plain numbers."""

from dataclasses import dataclass, replace
from datetime import timedelta

LEAST_CHARGE = 60.0
"""Slot-seconds that a slot counts as while it is held, however short it has been: so that a project which has had a
second less than another does not get every slot that is free in one turn."""


@dataclass(frozen=True)
class Share:
    """What a project has used, in decaying slot-seconds, and its weight."""

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
"""Of a project without a weight of its own."""


def faded(seconds: float, *, age: timedelta, half_life: timedelta) -> float:
    """What is left of `seconds` after `age`: half after each half-life. Clocks that went back fade nothing."""
    return float(seconds * 0.5 ** (max(age, timedelta(0)) / half_life))
