"""From two sets of measurements or of answers to one verdict, with the numbers it stands on. Pure.

A difference counts if three things hold: it is unlikely to be chance (`alpha`), it is large enough to matter (`effect`,
and twice the noise floor that A/A runs have shown), and there are enough samples to say so. A metric is `same` only if
the whole 95 % interval lies within the effect; whatever is neither is `unknown`, with the number of samples it takes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from orchestrator.model.verdicts import SHOWN_ONLY, AnswerRule, Direction, Verdict
from orchestrator.results import statistics
from orchestrator.results.statistics import Shift

FLOOR_FACTOR = 2
"""A difference below this many noise floors is not told from noise."""


@dataclass(frozen=True)
class MetricGate:
    """When a difference of a metric counts."""

    direction: Direction
    effect: float = 0.03
    """Smallest relative difference that matters."""
    alpha: float = 0.01
    """Probability of `better` or `worse` if nothing has changed, over all looks together."""
    looks: int = 1
    """How often the samples are looked at while more are measured; each look gets its part of alpha."""

    def threshold(self, floor: float) -> float:
        """The relative difference that counts, at a noise floor from A/A runs (relative)."""
        return max(self.effect, FLOOR_FACTOR * floor)


@dataclass(frozen=True)
class MetricVerdict:
    """A metric of two sides. Differences are relative to the median before; the shift is in the metric's unit."""

    metric: str
    verdict: Verdict
    why: str
    before: tuple[float, ...]
    after: tuple[float, ...]
    shift: Shift | None = None
    relative: float | None = None
    p_value: float | None = None
    corrected: float | None = None
    """The p-value after Benjamini and Hochberg's correction over all metrics of the comparison, which decides; None if
    it is the only one."""
    threshold: float | None = None
    needed: int | None = None
    """For `unknown`: samples on each side that would probably suffice."""


def judge_metric(
    metric: str,
    before: Sequence[float],
    after: Sequence[float],
    gate: MetricGate,
    *,
    floor: float = 0.0,
    p_value: float | None = None,
    corrected: float | None = None,
) -> MetricVerdict:
    """Compare the samples of two sides: one number of each attempt.

    `p_value` is that of the samples, if it is known; `corrected` is what decides when several metrics are judged."""
    sides = tuple(before), tuple(after)
    if not before or not after:
        side = "on both sides" if not before and not after else "before" if not before else "after"
        return MetricVerdict(metric, Verdict.MISSING, f"nothing was measured {side}", *sides)
    moved, middle = statistics.shift(before, after), abs(median(before))
    if gate.direction is Direction.NEITHER:
        return MetricVerdict(metric, Verdict.SAME, SHOWN_ONLY, *sides, moved)
    if middle == 0:
        equal = set(before) == set(after)
        verdict, why = (Verdict.SAME, "equal") if equal else (Verdict.UNKNOWN, "the median before is 0: no ratio")
        return MetricVerdict(metric, verdict, why, *sides, moved)
    relative, threshold = moved.difference / middle, gate.threshold(floor)
    alpha = gate.alpha / gate.looks
    p_value = statistics.p_value(before, after) if p_value is None else p_value
    probability = p_value if corrected is None else corrected
    numbers: dict[str, Any] = {
        "shift": moved, "relative": relative, "p_value": p_value, "corrected": corrected, "threshold": threshold
    }  # fmt: skip
    if probability < alpha and abs(relative) > threshold:
        gained = (relative > 0) == (gate.direction is Direction.HIGHER)
        verdict = Verdict.BETTER if gained else Verdict.WORSE
        return MetricVerdict(
            metric, verdict, f"{relative:+.1%}, p {probability:.2g} below {alpha:g}", *sides, **numbers
        )
    if -threshold <= moved.low / middle and moved.high / middle <= threshold:
        return MetricVerdict(metric, Verdict.SAME, f"{relative:+.1%}, within ±{threshold:.1%}", *sides, **numbers)
    spread = max(statistics.noise(before), statistics.noise(after))
    needed = statistics.samples_needed(spread, threshold, alpha=alpha)
    why = (
        f"{relative:+.1%} of {len(before)} and {len(after)} samples: "
        f"neither beyond nor surely within ±{threshold:.1%}; about {needed} on each side would tell"
    )
    return MetricVerdict(metric, Verdict.UNKNOWN, why, *sides, **numbers, needed=needed)


@dataclass(frozen=True)
class AnswerPairs:
    """Aligned answers of two sides, counted. Right and wrong are known only where there is a reference."""

    pairs: int
    changed: int
    lost: int = 0
    """Right before, wrong after."""
    gained: int = 0
    """Wrong before, right after."""
    judged: int = 0
    """Pairs with a reference."""
    alone: int = 0
    """Answers of one side without one of the other."""


@dataclass(frozen=True)
class AnswerVerdict:
    """The answers of two sides."""

    verdict: Verdict
    why: str
    pairs: AnswerPairs
    p_value: float | None = None


def judge_answers(pairs: AnswerPairs, rule: AnswerRule, *, alpha: float = 0.01) -> AnswerVerdict:
    """Compare aligned answers: by McNemar's exact test where right and wrong are known, never by two separate rates."""
    if not pairs.pairs:
        return AnswerVerdict(Verdict.MISSING, "no prompt was answered on both sides", pairs)
    changed = f"{pairs.changed} of {pairs.pairs} answers changed"
    if rule is AnswerRule.REPORT:
        return AnswerVerdict(Verdict.SAME, f"{changed}; {SHOWN_ONLY}", pairs)
    if pairs.alone:
        return AnswerVerdict(Verdict.MISSING, f"{pairs.alone} answers have no counterpart", pairs)
    if rule is AnswerRule.UNCHANGED:
        return AnswerVerdict(Verdict.WORSE if pairs.changed else Verdict.SAME, changed, pairs)
    if pairs.judged < pairs.pairs:
        why = f"{pairs.pairs - pairs.judged} of {pairs.pairs} pairs have no reference: not_worse needs a golden"
        return AnswerVerdict(Verdict.UNKNOWN, why, pairs)
    probability = statistics.mcnemar(pairs.lost, pairs.gained)
    why = f"{pairs.lost} turned wrong, {pairs.gained} turned right of {pairs.judged}; p {probability:.2g}"
    if probability < alpha:
        return AnswerVerdict(Verdict.WORSE if pairs.lost > pairs.gained else Verdict.BETTER, why, pairs, probability)
    if pairs.lost == pairs.gained == 0:
        return AnswerVerdict(Verdict.SAME, why, pairs, probability)
    return AnswerVerdict(Verdict.SAME if pairs.lost <= pairs.gained else Verdict.UNKNOWN, why, pairs, probability)


def finite(value: float) -> float | None:
    """For documents: JSON has no infinity."""
    return value if math.isfinite(value) else None
