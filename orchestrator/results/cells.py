"""What follows from what a suite has measured of a cell: more runs, a second measurement, or its verdict. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

from orchestrator.model.suites import CellOutcome, SuiteDocument
from orchestrator.model.verdicts import AnswerRule, Direction, Verdict
from orchestrator.results.sides import Comparison, Rules, Side, direction_of, pairs_of
from orchestrator.results.statistics import least_p_value
from orchestrator.results.verdicts import MetricGate

_JUDGED_WELL = frozenset({Verdict.SAME, Verdict.BETTER})


def rules_of(document: SuiteDocument, floors: Mapping[str, float]) -> Rules:
    """What the cells of a suite are held to. The alpha of each gate is shared by all looks that the budget allows."""
    looks = len(document.looks)
    gates = {
        name: MetricGate(_direction(name, gate.direction), gate.effect, gate.alpha, looks)
        for name, gate in document.gates.items()
    }
    alpha = min([gate.alpha for gate in document.gates.values()] or [Rules.alpha]) / looks
    return Rules(
        across=frozenset(document.across), gates=gates, floors=floors, answers=AnswerRule(document.answers), alpha=alpha
    )


def without_a_rule(document: SuiteDocument, side: Side) -> Side:
    """The side without its metrics if the suite gates none: an empty table of gates would judge all of them."""
    return side if document.gates else replace(side, samples={}, definitions={})


def problem_of(document: SuiteDocument) -> tuple[str, str] | None:
    """The field and the mistake if a gate can never speak: an unknown direction, or a budget that alpha rules out for a
    metric that alone is different: its p-value is corrected for the number of gates."""
    looks, tests = len(document.looks), len(document.gates)
    for name, gate in document.gates.items():
        if _direction(name, gate.direction) is Direction.NEITHER:
            return f"gates.{name}.direction", f"unknown which values of {name} are better: write higher or lower"
        if least_p_value(document.most_runs, document.most_runs) * tests >= gate.alpha / looks:
            enough = next(n for n in range(1, 1000) if least_p_value(n, n) * tests < gate.alpha)
            return "budget", (
                f"{document.most_runs} runs on each side can never tell a difference of {name} at alpha {gate.alpha:g}"
                f" in {looks} looks{f' at {tests} metrics' if tests > 1 else ''};"
                f" write repeats: {enough}, or more alpha"
            )
    return None


def _direction(name: str, told: str | None) -> Direction:
    return direction_of(name) if told is None else Direction(told)


@dataclass(frozen=True)
class CellMeasured:
    """A cell when all its jobs have ended."""

    comparison: Comparison | None
    """With its baseline; None without one."""
    ordered: int
    """Runs that were submitted to measure it, of which some may not count."""
    same: Comparison | None = None
    """The second measurement on the card group on which it was worse; None if there was none."""
    other: Comparison | None = None
    """The second measurement on another card group."""
    confirming: bool = False
    """A second measurement was ordered."""


@dataclass(frozen=True)
class MoreRuns:
    """Measure it as many times again."""

    count: int


@dataclass(frozen=True)
class Confirm:
    """Measure it so many times again on its card group, and as many times on another one."""

    count: int


@dataclass(frozen=True)
class Judged:
    """The end."""

    verdict: Verdict
    outcome: CellOutcome
    why: str


def next_step(document: SuiteDocument, measured: CellMeasured) -> MoreRuns | Confirm | Judged:
    """What follows for a cell."""
    found = measured.comparison
    if found is None:
        return Judged(Verdict.MISSING, CellOutcome.UNJUDGED, "no baseline")
    if measured.confirming:
        return _confirmed(found, measured.same, measured.other)
    if found.verdict is Verdict.UNKNOWN and _more_may_tell(found):
        after = next((look for look in document.looks if look > measured.ordered), None)
        if after is not None:
            return MoreRuns(after - measured.ordered)
    if found.verdict is Verdict.WORSE and document.confirm:
        return Confirm(_runs_again(document, measured.ordered, found))
    outcome = CellOutcome.WORSE if found.verdict is Verdict.WORSE else CellOutcome.UNJUDGED
    return Judged(found.verdict, CellOutcome.GOOD if found.verdict in _JUDGED_WELL else outcome, _sentence(found))


def _runs_again(document: SuiteDocument, ordered: int, found: Comparison) -> int:
    """As many as the budget allows, because a few runs can be worse by chance, and then a few more seldom say so.
    Answers that may not change are changed again in as many runs as before."""
    changed = found.answers is not None and found.answers.verdict is Verdict.WORSE
    return ordered if changed and AnswerRule(document.answers) is AnswerRule.UNCHANGED else document.most_runs


def _more_may_tell(found: Comparison) -> bool:
    """Whether the samples are what is missing, not a reference."""
    answers = found.answers
    unclear = answers is not None and answers.verdict is Verdict.UNKNOWN and answers.pairs.judged == answers.pairs.pairs
    return unclear or any(each.needed is not None for each in found.metrics if each.verdict is Verdict.UNKNOWN)


def _sentence(found: Comparison) -> str:
    """Why; of what stays unknown also how many runs would have been needed."""
    needed = max((each.needed or 0 for each in found.metrics), default=0)
    more = f"; about {needed} runs on each side would have been needed"
    return found.why + (more if found.verdict is Verdict.UNKNOWN and needed and str(needed) not in found.why else "")


def _confirmed(first: Comparison, same: Comparison | None, other: Comparison | None) -> Judged:
    """From the second measurement on the same card group and on another one. A false alarm is only what was measured
    again and found well; what could not be measured again stays worse. What was measured again, and is not surely worse
    anywhere, is unknown."""
    here, there = (None if found is None else found.verdict for found in (same, other))
    if here is Verdict.WORSE and there is Verdict.WORSE:
        return Judged(Verdict.WORSE, CellOutcome.MODEL_OR_TOOLCHAIN, first.why)
    if here is Verdict.WORSE and there in _JUDGED_WELL:
        why = f"worse on this card group only, twice: {first.why}"
        return Judged(Verdict.INFRASTRUCTURE, CellOutcome.CARD, why)
    if here in _JUDGED_WELL and there is not Verdict.WORSE:
        assert here is not None
        return Judged(here, CellOutcome.NOT_CONFIRMED, f"not confirmed: {first.why}; measured again, it is {here}")
    told = f"again on this card group: {here or 'not measured'}, on another one: {there or 'not measured'}"
    unclear = here in _JUDGED_WELL or (here is Verdict.UNKNOWN and there is not Verdict.WORSE)
    stays = Verdict.UNKNOWN if unclear else Verdict.WORSE
    return Judged(stays, CellOutcome.UNDECIDED, f"{first.why}; {told}")


def worst_place(before: Side, places: Mapping[str, Side], rules: Rules) -> str:
    """Of the card groups on which a cell was measured, the one that is worst: by the share of answers that changed,
    then by the metrics that are gated. Needs at least one."""
    return max(sorted(places), key=lambda place: _badness(before, places[place], rules))


def _badness(before: Side, after: Side, rules: Rules) -> tuple[float, float]:
    pairs = pairs_of(before.answers, after.answers)
    losses = [
        _loss(before.samples[name], after.samples[name], gate.direction)
        for name, gate in rules.gates.items()
        if before.samples.get(name) and after.samples.get(name)
    ]
    return (pairs.changed / pairs.pairs if pairs.pairs else 0.0), max(losses, default=0.0)


def _loss(before: Sequence[float], after: Sequence[float], direction: Direction) -> float:
    middle = abs(median(before))
    change = (median(after) - median(before)) / middle if middle else 0.0
    return -change if direction is Direction.HIGHER else change


def as_document(found: Any) -> Any:
    """A comparison, or a part of one, as JSON can hold it: infinite numbers are null."""
    if hasattr(found, "__dataclass_fields__"):
        return {name: as_document(getattr(found, name)) for name in found.__dataclass_fields__}
    if isinstance(found, Mapping):
        return {str(key): as_document(value) for key, value in found.items()}
    if isinstance(found, tuple | list):
        return [as_document(value) for value in found]
    if isinstance(found, float) and found in (float("inf"), float("-inf")):
        return None
    return str(found) if isinstance(found, Verdict | Direction) else found
