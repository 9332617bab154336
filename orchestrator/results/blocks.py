"""Two sides measured in blocks of four runs, A B B A or B A A B: what differs once a drift is taken out. Pure.

In such a block both sides lie around the same middle in time, so that a linear drift changes both alike: it cancels out
of the difference of a block exactly. The differences of all blocks are tested by Student's t.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist, mean, median, stdev

from orchestrator.model.verdicts import Direction, Verdict
from orchestrator.results.statistics import CONFIDENCE
from orchestrator.results.verdicts import MetricGate

RUNS_OF_A_BLOCK = 4

Run = tuple[str, float]
"""Side (`a` or `b`) and value of one run."""


@dataclass(frozen=True)
class BlockVerdict:
    """A metric of two sides. All differences are relative to the median of side A, positive where B is higher."""

    metric: str
    verdict: Verdict
    why: str
    blocks: tuple[float, ...]
    """The difference in each complete block."""
    relative: float | None = None
    low: float | None = None
    high: float | None = None
    """The 95 % interval of `relative`."""
    p_value: float | None = None
    drift: float | None = None
    """From one run to the next, relative; it is taken out."""
    needed: int | None = None
    """For `unknown`: blocks that would probably suffice."""


def in_blocks(runs: Sequence[tuple[str, float | None]]) -> list[tuple[Run, ...]]:
    """The complete blocks; one in which a run has no value is left out."""
    found = []
    for start in range(0, len(runs) - RUNS_OF_A_BLOCK + 1, RUNS_OF_A_BLOCK):
        block = [(side, value) for side, value in runs[start : start + RUNS_OF_A_BLOCK] if value is not None]
        if len(block) == RUNS_OF_A_BLOCK:
            found.append(tuple(block))
    return found


def judge_blocks(metric: str, blocks: Sequence[Sequence[Run]], gate: MetricGate) -> BlockVerdict:
    """Compare both sides of complete blocks."""
    middle = median([value for block in blocks for side, value in block if side == "a"]) if blocks else 0.0
    if not blocks or middle == 0:
        why = "no block is complete" if not blocks else "the median of side A is 0: no ratio"
        return BlockVerdict(metric, Verdict.MISSING if not blocks else Verdict.UNKNOWN, why, ())
    differences = tuple((_mean(block, "b") - _mean(block, "a")) / abs(middle) for block in blocks)
    drift = mean(_drift(block) for block in blocks) / abs(middle)
    if len(differences) < 2:
        why = "one complete block says nothing about chance"
        return BlockVerdict(metric, Verdict.UNKNOWN, why, differences, differences[0], drift=drift, needed=2)
    relative, spread, count = mean(differences), stdev(differences), len(differences)
    from scipy import stats

    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1)) * spread / math.sqrt(count)
    low, high = relative - half, relative + half
    probability = _p_value(relative, spread, count)
    verdict, why, needed = _judged(relative, low, high, probability, spread, count, gate)
    return BlockVerdict(metric, verdict, why, differences, relative, low, high, probability, drift, needed)


def _judged(
    relative: float, low: float, high: float, probability: float, spread: float, count: int, gate: MetricGate
) -> tuple[Verdict, str, int | None]:
    said = f"{relative:+.2%} over {count} blocks"
    if gate.direction is Direction.NEITHER:
        return Verdict.SAME, f"{said}; shown, not judged", None
    if probability < gate.alpha and abs(relative) > gate.effect:
        gained = (relative > 0) == (gate.direction is Direction.HIGHER)
        return (Verdict.BETTER if gained else Verdict.WORSE), f"{said}, p {probability:.2g} below {gate.alpha:g}", None
    if -gate.effect <= low and high <= gate.effect:
        return Verdict.SAME, f"{said}, within ±{gate.effect:.1%}", None
    needed = max(count + 1, _needed(spread, gate))
    return Verdict.UNKNOWN, f"{said}: neither beyond nor surely within ±{gate.effect:.1%}; try {needed} blocks", needed


def _mean(block: Sequence[Run], wanted: str) -> float:
    return mean(value for side, value in block if side == wanted)


def _drift(block: Sequence[Run]) -> float:
    """From one run to the next, by least squares: the outer two runs are of one side, the inner two of the other."""
    first, second, third, fourth = (value for _, value in block)
    return (3 * (fourth - first) + (third - second)) / 10


def _p_value(relative: float, spread: float, count: int) -> float:
    if spread == 0:
        return 1.0 if relative == 0 else 0.0
    from scipy import stats

    return float(2 * stats.t.sf(abs(relative) / (spread / math.sqrt(count)), count - 1))


def _needed(spread: float, gate: MetricGate) -> int:
    normal = NormalDist()
    sigmas = normal.inv_cdf(1 - gate.alpha / 2) + normal.inv_cdf(0.95)
    return math.ceil((sigmas * spread / gate.effect) ** 2)
