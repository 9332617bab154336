"""How sure a difference between two sets of measurements is. Pure.

numpy and scipy are imported where they are used: every API process and dispatcher loads this module, and scipy.stats
alone takes most of a second.

A sample is one number of one attempt: repeats inside an attempt share its cards, its load and its minute, so they are
not independent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist, median

EXACT_BELOW = 20
"""If the smaller side has fewer samples than this, and there are no ties, probabilities are exact; else by the normal
approximation with the correction for ties."""

MOST_EXACT = 10_000
"""Largest product of both numbers of samples that is counted out; beyond, the approximation is good."""

CONFIDENCE = 0.95
"""Of every interval that is shown."""

MAD_TO_DEVIATION = 1.4826
"""Median absolute deviation × this is the standard deviation of a normal distribution."""


@dataclass(frozen=True)
class Shift:
    """How far the second side lies above the first (Hodges-Lehmann: the median of all pairwise differences), in the
    metric's unit, and its 95 % interval; infinite where the samples are too few for one."""

    difference: float
    low: float
    high: float


def shift(before: Sequence[float], after: Sequence[float]) -> Shift:
    """The Hodges-Lehmann difference after - before; both sides need at least one sample.

    The interval is the set of shifts that Mann-Whitney's test does not refuse at 5 % (Lehmann 1975)."""
    import numpy as np

    differences = np.sort(np.subtract.outer(np.asarray(after, float), np.asarray(before, float)), axis=None)
    outside = _outside(len(before), len(after), (1 - CONFIDENCE) / 2)
    if outside == 0:
        return Shift(float(np.median(differences)), -math.inf, math.inf)
    return Shift(float(np.median(differences)), float(differences[outside - 1]), float(differences[-outside]))


def p_value(before: Sequence[float], after: Sequence[float]) -> float:
    """Probability of a difference at least as large if there is none: Mann-Whitney U, two-sided."""
    if len(set(before) | set(after)) == 1 or len(before) == len(after) == 1:
        return 1.0
    ties = len(set(before) | set(after)) < len(before) + len(after)
    exact = not ties and _is_exact(len(before), len(after))
    from scipy import stats

    return float(stats.mannwhitneyu(before, after, method="exact" if exact else "asymptotic").pvalue)


def least_p_value(before: int, after: int) -> float:
    """The smallest p-value that so many samples can give: all of one side below all of the other."""
    return 2 / math.comb(before + after, before)


def mcnemar(lost: int, gained: int) -> float:
    """Probability of so unequal numbers of pairs that turned from right to wrong and from wrong to right, if both turns
    are equally likely: exact, two-sided."""
    if not lost + gained:
        return 1.0
    from scipy import stats

    return float(stats.binomtest(lost, lost + gained).pvalue)


def corrected(p_values: Sequence[float]) -> list[float]:
    """Benjamini and Hochberg's: below q, a share of at most q of the findings is false."""
    if not p_values:
        return []
    from scipy import stats

    return [float(value) for value in stats.false_discovery_control(p_values)]


def noise(values: Sequence[float]) -> float:
    """Relative spread: 1.4826 × median absolute deviation / median; 0 if there is one value or the median is 0."""
    middle = median(values)
    return MAD_TO_DEVIATION * median(abs(value - middle) for value in values) / abs(middle) if middle else 0.0


def samples_needed(spread: float, effect: float, *, alpha: float, power: float = 0.95) -> int:
    """Samples on each side to see a relative difference of `effect` at a relative spread, with probability `power`.

    By the formula for two normal means, over the efficiency of Mann-Whitney's test (3/π); and never fewer than alpha
    needs at all."""
    least = next(count for count in range(1, 1000) if least_p_value(count, count) < alpha)
    normal = NormalDist()
    sigmas = normal.inv_cdf(1 - alpha / 2) + normal.inv_cdf(power)
    return max(least, math.ceil(2 * (sigmas * spread / effect) ** 2 * math.pi / 3))


@lru_cache(maxsize=1000)  # suites ask for few numbers of samples, again and again
def _outside(before: int, after: int, tail: float) -> int:
    """How many of the sorted differences lie outside the interval on each side: the largest k with
    P(U <= k - 1) <= tail."""
    if not _is_exact(before, after):
        spread = math.sqrt(before * after * (before + after + 1) / 12)
        return max(0, math.floor(before * after / 2 + NormalDist().inv_cdf(tail) * spread))
    import numpy as np

    ways = np.zeros(before * after + 1)
    ways[0] = 1
    # The number of orders with each U: the Gaussian binomial, one factor (1 - q^(more+i)) / (1 - q^i) at a time.
    fewer, more = sorted((before, after))
    for i in range(1, fewer + 1):
        ways[more + i :] -= ways[: -(more + i)].copy() if more + i <= fewer * more else 0
        for place in range(i, len(ways)):
            ways[place] += ways[place - i]
    return int(np.searchsorted(np.cumsum(ways) / math.comb(before + after, before), tail, side="right"))


def _is_exact(before: int, after: int) -> bool:
    return min(before, after) < EXACT_BELOW and before * after <= MOST_EXACT
