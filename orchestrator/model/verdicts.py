"""The words of comparisons: verdicts, directions, what answers are held to. Pure."""

from collections.abc import Sequence
from enum import StrEnum


class Verdict(StrEnum):
    """The outcome of every comparison."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "same"
    UNKNOWN = "unknown"  #: The samples do not suffice to say.
    MISSING = "missing"  #: Nothing was measured on one side.
    NOT_COMPARABLE = "not_comparable"  #: The sides differ in something that was not to differ.
    INFRASTRUCTURE = "infrastructure"  #: The runs ended by faults of cards, hosts or the system.
    KNOWN = "known"  #: Worse, and a known issue says so until a date.


GRAVEST_FIRST = (
    Verdict.WORSE, Verdict.NOT_COMPARABLE, Verdict.MISSING, Verdict.INFRASTRUCTURE, Verdict.UNKNOWN, Verdict.KNOWN,
    Verdict.BETTER, Verdict.SAME,
)  # fmt: skip
"""Which of several verdicts stands for all of them. What could not be judged outweighs what is well."""


def overall(verdicts: Sequence[Verdict]) -> Verdict:
    """The gravest; `missing` if there is none, because nothing measured is never a pass."""
    return min(verdicts, key=GRAVEST_FIRST.index, default=Verdict.MISSING)


class Direction(StrEnum):
    """Which values of a metric are better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEITHER = "neither"  #: It is shown, and never better or worse.


SHOWN_ONLY = "shown, not judged"
"""The reason of a verdict on what has no rule: it decides nothing."""


class AnswerRule(StrEnum):
    """What answers are held to."""

    UNCHANGED = "unchanged"  #: Each equals the answer before, character by character.
    NOT_WORSE = "not_worse"  #: Right ones do not turn wrong more often than wrong ones turn right.
    REPORT = "report"  #: Changes are shown, and never better or worse.
