"""Baselines that are computed from earlier runs: the previous good one, and the last k good ones together. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from orchestrator.model.verdicts import Verdict
from orchestrator.results.sides import Side

GOOD = frozenset({Verdict.SAME, Verdict.BETTER})
"""Verdicts of runs that later ones may be held to."""


@dataclass(frozen=True)
class JudgedRun:
    """One cell of an earlier run of a suite."""

    run: int
    side: Side
    verdict: Verdict


def previous_good(runs: Sequence[JudgedRun]) -> Side | None:
    """The side of the latest run whose verdict was good and whose results count; None if there is none."""
    return next((each.side for each in _good(runs)), None)


def median_of_good(runs: Sequence[JudgedRun], k: int) -> Side | None:
    """The latest k good runs as one side; None if they are fewer.

    The samples of all of them together: their median is what is compared, and their spread is that from run to run. A
    run that measured a metric by another definition than the latest is left out of that metric. Answers are those of
    the latest run: there is no median of texts."""
    chosen = _good(runs)[:k]
    if len(chosen) < k:
        return None
    latest = chosen[0].side
    samples = {
        name: tuple(
            value
            for each in reversed(chosen)
            if each.side.definitions.get(name) == latest.definitions.get(name)
            for value in each.side.samples.get(name, ())
        )
        for name in latest.samples
    }
    numbers = ", ".join(str(each.run) for each in reversed(chosen))
    settings = tuple(setting for each in reversed(chosen) for setting in each.side.settings)
    return Side(f"median of runs {numbers}", settings, samples, latest.definitions, latest.answers)


def _good(runs: Sequence[JudgedRun]) -> list[JudgedRun]:
    """Newest first."""
    counted = (each for each in runs if each.verdict in GOOD and each.side.settings)
    return sorted(counted, key=lambda each: each.run, reverse=True)
