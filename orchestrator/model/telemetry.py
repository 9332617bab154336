"""What the cards of an attempt measured while it ran: how it is read, kept small, and when it is out of limits. Pure.

Every sample counts for the least, the mean and the most of a measure; of their course a thin series is kept.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, model_validator

from orchestrator.model.patterns import Pattern
from orchestrator.model.specs import Strict

Measure = Literal["celsius", "watt", "percent", "megabytes", "megahertz"]
MEASURES: tuple[Measure, ...] = get_args(Measure)

MOST_POINTS = 60
"""Of the series of a measure: when it has more, every second point is dropped, and later ones come half as often."""


class Limit(Strict):
    """What a measure may be while an attempt runs; a result measured beyond it is doubtful."""

    least: float | None = Field(default=None, allow_inf_nan=False, description="Every sample has to be at least this.")
    most: float | None = Field(default=None, allow_inf_nan=False, description="No sample may be above this.")

    @model_validator(mode="after")
    def _limits_something(self) -> "Limit":
        if self.least is None and self.most is None:
            raise ValueError("give least, most or both")
        return self


class TelemetryRule(Strict):
    """How the cards of an attempt are measured while its tool runs; skipped where the program is not installed."""

    argv: tuple[str, ...] = Field(
        min_length=1, description="Command for each card, on the host. Place-holders: {card} {devices} {root}."
    )
    environment: dict[str, str] = Field(description="All it gets; its PATH finds the program.")
    patterns: tuple[Annotated[Pattern, Field()], ...] = Field(
        min_length=1,
        description="Tried in this order on its output; the first that is found counts. Named groups: celsius, watt, "
        "percent, megabytes, megahertz.",
    )
    every: float = Field(default=30, ge=0.1, le=3600, description="Seconds between two samples.")
    seconds: float = Field(default=5, gt=0, le=60, description="The longest time of one call.")
    limits: dict[Measure, Limit] = Field(default={}, description="Beyond these a result is doubtful.")

    @model_validator(mode="after")
    def _measures_what_it_limits(self) -> "TelemetryRule":
        measured = set[str]()
        for pattern in self.patterns:
            groups = set(re.compile(pattern).groupindex)
            if not groups or not groups <= set(MEASURES):
                raise ValueError(f"patterns: {pattern!r} needs named groups, of {', '.join(MEASURES)} alone")
            measured |= groups
        if unmeasured := sorted(set(self.limits) - measured):
            raise ValueError(f"limits: no pattern has a group {', '.join(unmeasured)}")
        return self


def measured(groups: Mapping[str, str | None]) -> dict[Measure, float]:
    """The numbers that the groups of a pattern have found; what is no number is left out."""
    found: dict[Measure, float] = {}
    for name in MEASURES:
        try:
            found[name] = float(groups.get(name) or "")
        except ValueError:
            continue
    return found


@dataclass
class _Course:
    """One measure of all cards."""

    least: float
    most: float
    most_on: int
    total: float = 0.0
    count: int = 0
    points: list[tuple[float, float]] = field(default_factory=list)
    stride: int = 1
    """One sample of this number becomes a point."""

    def add(self, card: int, value: float) -> None:
        self.total, self.count, self.least = self.total + value, self.count + 1, min(self.least, value)
        if value > self.most:
            self.most, self.most_on = value, card


class Recorder:
    """Takes samples; its size does not grow with their number."""

    def __init__(self) -> None:
        self._courses: dict[Measure, _Course] = {}
        self.samples = 0
        self._spent = 0.0

    def add(self, at: float, cards: Mapping[int, Mapping[Measure, float]], *, spent: float) -> None:
        """One sample: what each card measured `at` so many seconds after the start, and how long measuring took."""
        self._spent += spent
        if not any(cards.values()):
            return
        for name in MEASURES:
            values = {card: found[name] for card, found in cards.items() if name in found}
            if not values:
                continue
            hottest = max(values, key=lambda card: values[card])
            course = self._courses.setdefault(name, _Course(min(values.values()), values[hottest], hottest))
            for card, value in values.items():
                course.add(card, value)
            if self.samples % course.stride == 0:
                course.points.append((round(at, 1), round(values[hottest], 1)))
            if len(course.points) > MOST_POINTS:
                course.points, course.stride = course.points[::2], 2 * course.stride
        self.samples += 1

    def document(self) -> dict[str, Any] | None:
        """As it is stored with the attempt; None without a sample."""
        if not self._courses:
            return None
        return {
            "samples": self.samples,
            "sampling_seconds": round(self._spent, 3),
            "measures": {
                name: {
                    "min": course.least, "mean": round(course.total / course.count, 2), "max": course.most,
                    "max_card": course.most_on, "points": [list(point) for point in course.points],
                }
                for name, course in self._courses.items()
            },
        }  # fmt: skip


def beyond(limits: Mapping[Measure, Limit], document: Mapping[str, Any] | None) -> Iterator[str]:
    """What was out of its limits, as sentences."""
    for name, limit in limits.items():
        seen = (document or {}).get("measures", {}).get(name)
        if seen is None:
            continue
        if limit.most is not None and seen["max"] > limit.most:
            yield f"{name} {seen['max']:g} on card {seen['max_card']}, above {limit.most:g}"
        if limit.least is not None and seen["min"] < limit.least:
            yield f"{name} {seen['min']:g}, below {limit.least:g}"
