"""Which of several card groups that did the same measures other values than the rest. Pure.

A group is odd if its median lies far from the medians of all groups (robust z) and its runs differ from those of the
others by the rule for two sides (`orchestrator.results.statistics`), corrected for the number of groups.
"""

from collections.abc import Mapping, Sequence
from statistics import median

from orchestrator.model.batch_report import OddGroup
from orchestrator.model.verdicts import Direction, Verdict
from orchestrator.results import statistics
from orchestrator.results.verdicts import MetricGate

LEAST_GROUPS = 4
"""Fewer have no usual value that one of them could differ from."""

FAR = 3.5
"""Robust z beyond which a value is an outlier (Iglewicz and Hoaglin 1993)."""

LEAST_SPREAD = 0.01
"""Groups are never taken to agree better than this, relative: otherwise any difference among equals is far."""


def odd_groups(
    metric: str, samples: Mapping[str, Sequence[float]], gate: MetricGate, cards: Mapping[str, tuple[int, ...]]
) -> list[OddGroup]:
    """The odd ones among groups, by their samples (one number of each run); none among fewer than four."""
    measured = {slot: values for slot, values in samples.items() if values}
    if len(measured) < LEAST_GROUPS or gate.direction is Direction.NEITHER:
        return []
    medians = {slot: median(values) for slot, values in measured.items()}
    usual = median(medians.values())
    deviation = statistics.MAD_TO_DEVIATION * median(abs(value - usual) for value in medians.values())
    spread = max(deviation, LEAST_SPREAD * abs(usual))
    if not usual:
        return []
    found = []
    for slot, value in sorted(medians.items()):
        z, relative = (value - usual) / spread, (value - usual) / abs(usual)
        if abs(z) <= FAR or abs(relative) <= gate.effect:
            continue
        others = [each for other, values in measured.items() if other != slot for each in values]
        probability = statistics.p_value(measured[slot], others)
        gained = (relative > 0) == (gate.direction is Direction.HIGHER)
        sure = probability < gate.alpha / len(measured)
        verdict = (Verdict.BETTER if gained else Verdict.WORSE) if sure else Verdict.UNKNOWN
        why = f"{metric} {value:.4g}, usual {usual:.4g} ({relative:+.1%}, z {z:+.1f}, p {probability:.2g})"
        why += "" if sure else f"; {len(measured[slot])} runs are too few to be sure"
        found.append(OddGroup(slot, cards[slot], metric, verdict, why, value, usual, z, probability))
    return found
