"""Which series became worse, between which runs, and by what change: what makes several of them one case. Pure."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.model.verdicts import Verdict

ANSWERS = "answers"
"""The series of a cell's answers; every other series has the name of its metric."""

CHANGES = ("toolchain", "release", "model", "kcore")
"""Fields of a setting whose change can be what made a series worse."""

ELSEWHERE = frozenset({"confirm_other"})
"""Jobs that measured on another card group: no evidence against the first one."""

Change = dict[str, dict[str, list[Any]]]
"""Field of a setting → its distinct values `before` and `after`."""


@dataclass(frozen=True)
class Interval:
    """The runs between which something became worse: after `last_good`, at the latest in `first_bad`. Runs of all
    suites are numbered in one row, so that intervals of several suites can be compared."""

    last_good: int | None
    """None if no earlier run was good."""
    first_bad: int

    def overlaps(self, other: "Interval") -> bool:
        """Whether one change can be the cause of both."""
        return (self.last_good or 0) < other.first_bad and (other.last_good or 0) < self.first_bad

    def common(self, other: "Interval") -> "Interval":
        """What remains if one change is the cause of both."""
        goods = [good for good in (self.last_good, other.last_good) if good is not None]
        return Interval(max(goods, default=None), min(self.first_bad, other.first_bad))


@dataclass(frozen=True)
class Worse:
    """A cell of a suite run that is worse than its baseline."""

    series: frozenset[str]
    """Metrics that are worse, and `answers`."""
    change: Change
    jobs: tuple[int, ...]
    """Jobs whose results say so."""


def finding_of(entry: Mapping[str, Any], *, card: bool) -> Worse:
    """What the entry of a cell in the report of a suite run says: `comparison` with `differences`, `metrics` and
    `answers`; `slots`; `jobs` by their role. If a card group is the cause, that is the change."""
    compared = entry.get("comparison") or {}
    worse = {each["metric"] for each in compared.get("metrics", ()) if each["verdict"] == Verdict.WORSE}
    if (compared.get("answers") or {}).get("verdict") == Verdict.WORSE:
        worse.add(ANSWERS)
    roles = entry.get("jobs") or {}
    jobs = sorted(job for role, numbers in roles.items() if not (card and role in ELSEWHERE) for job in numbers)
    if card:
        change: Change = {"slots": {"before": [], "after": list(entry.get("slots") or ())}}
    else:
        changed = (each for each in compared.get("differences", ()) if each["field"] in CHANGES)
        change = {
            each["field"]: {"before": list(each["before"]), "after": list(each["after"])}
            for each in changed
            if list(each["before"]) != list(each["after"])
        }
    return Worse(frozenset(worse), change, tuple(jobs))


def same_cause(one: Change, other: Change) -> bool:
    """Whether two regressions share a change; two that no known change explains share that."""
    if not one and not other:
        return True
    return any(field in other and other[field] == values for field, values in one.items())


def without_evidence(jobs: Sequence[int], doubted: Collection[int]) -> bool:
    """Whether nothing of the evidence is left: every job of it is in doubt."""
    return bool(jobs) and set(jobs) <= set(doubted)
