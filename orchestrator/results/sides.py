"""Two sides of a comparison: what was set, measured and answered on each, and one verdict over all of it. Pure.

A side is one run or several repeats of it. Answers are aligned by the prompt's text and the repeat, never by position
alone; metrics only if their definition and unit are the same.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from orchestrator.model.verdicts import AnswerRule, Direction, Verdict, overall
from orchestrator.results.verdicts import (
    AnswerPairs,
    AnswerVerdict,
    MetricGate,
    MetricVerdict,
    judge_answers,
    judge_metric,
)

WHERE = frozenset({"slots", "host"})
"""Fields of a setting that say where a run happened. Repeats of one measurement may differ in them, so they never make
two sides incomparable by themselves."""

LOWER_IS_BETTER = ("request_seconds", "ttft_seconds", "tpot_seconds")
HIGHER_IS_BETTER = ("output_throughput", "exact_answers")


def direction_of(metric: str) -> Direction:
    """Which values of a metric are better, by its name without the statistic; of an unknown one, neither."""
    if metric.startswith(HIGHER_IS_BETTER):
        return Direction.HIGHER
    return Direction.LOWER if metric.startswith(LOWER_IS_BETTER) else Direction.NEITHER


@dataclass(frozen=True, slots=True)
class AnswerOf:
    """One answer of one run of a side."""

    question: str
    repeat: int
    """Counts all answers of this side to this question, over repeats, lanes and runs, from 0."""
    text: str
    exact: bool | None
    """Equal to its reference; None without one."""
    slot_id: str | None = None
    job_id: int | None = None


@dataclass(frozen=True)
class Side:
    """The runs of one side whose results count."""

    label: str
    settings: tuple[Mapping[str, Any], ...] = ()
    """Of each run (`orchestrator.comparisons.runs`)."""
    samples: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    """Metric → one number of each run that has it."""
    definitions: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Metric → its unit and definition."""
    answers: tuple[AnswerOf, ...] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Runs that do not count, by reason: `infrastructure`, `failed`, `doubtful`, `unfinished`."""


@dataclass(frozen=True)
class Difference:
    """A field of the setting that is not the same on both sides, with the distinct values of each."""

    field: str
    before: tuple[Any, ...]
    after: tuple[Any, ...]
    allowed: bool
    """Named by the person who compares, or a place (`WHERE`)."""


@dataclass(frozen=True)
class Comparison:
    """Two sides, and the verdict. Without comparable settings there are no numbers."""

    verdict: Verdict
    why: str
    differences: tuple[Difference, ...]
    metrics: tuple[MetricVerdict, ...] = ()
    answers: AnswerVerdict | None = None


@dataclass(frozen=True)
class Rules:
    """What a comparison is held to."""

    across: frozenset[str] = frozenset()
    """Fields of the setting that may differ."""
    strict: frozenset[str] = frozenset()
    """Places that may not differ although repeats may."""
    gates: Mapping[str, MetricGate] = field(default_factory=dict)
    """Metrics that are judged; a metric without a gate is shown. Empty: every metric whose direction is known."""
    floors: Mapping[str, float] = field(default_factory=dict)
    """Metric → noise floor from A/A runs, relative."""
    answers: AnswerRule = AnswerRule.UNCHANGED
    alpha: float = 0.01


def compare(before: Side, after: Side, rules: Rules) -> Comparison:
    """One verdict: first whether the sides may be compared at all, then their answers, then their metrics."""
    differences = differing(before, after, rules)
    apart = [difference.field for difference in differences if not difference.allowed]
    if apart:
        why = f"the sides differ in {', '.join(apart)}; name what may differ (across)"
        return Comparison(Verdict.NOT_COMPARABLE, why, differences)
    for side in (before, after):
        if not side.settings:
            return Comparison(*_without_results(side), differences)
    metrics = tuple(_metrics(before, after, rules))
    answers = None
    if before.answers or after.answers:
        answers = judge_answers(pairs_of(before.answers, after.answers), rules.answers, alpha=rules.alpha)
    gates = _gates(before, after, rules)
    judged: list[AnswerVerdict | MetricVerdict] = [each for each in metrics if each.metric in gates]
    judged += [answers] if answers and rules.answers is not AnswerRule.REPORT else []
    verdict = overall([each.verdict for each in judged])
    return Comparison(verdict, _why(verdict, judged), differences, metrics, answers)


def differing(before: Side, after: Side, rules: Rules) -> tuple[Difference, ...]:
    """Fields in which not all runs of both sides are the same."""
    names = sorted({name for side in (before, after) for setting in side.settings for name in setting})
    found = []
    for name in names:
        one, other = _values(before, name), _values(after, name)
        if one != other or len(one) > 1:
            allowed = name in rules.across or (name in WHERE and name not in rules.strict)
            found.append(Difference(name, one, other, allowed))
    return tuple(found) if before.settings and after.settings else ()


def aligned(
    before: Sequence[AnswerOf], after: Sequence[AnswerOf]
) -> tuple[list[tuple[AnswerOf, AnswerOf]], list[AnswerOf]]:
    """Pairs of answers to the same question in the same repeat, and answers of either side without a counterpart.

    If one side has more repeats of a question than the other, its last answer stands for the repeats it lacks only if
    all its answers are equal; otherwise the rest is without a counterpart."""
    theirs = _by_question(after)
    ours = _by_question(before)
    pairs, alone = [], []
    for question in dict.fromkeys([*ours, *theirs]):
        left, right = ours.get(question, []), theirs.get(question, [])
        count = max(len(left), len(right)) if left and right else 0
        left, right = _stretched(left, count), _stretched(right, count)
        common = min(len(left), len(right))
        pairs += list(zip(left[:common], right[:common], strict=True))
        alone += [*left[common:], *right[common:]]
    return pairs, alone


def pairs_of(before: Sequence[AnswerOf], after: Sequence[AnswerOf]) -> AnswerPairs:
    """The aligned answers, counted."""
    pairs, alone = aligned(before, after)
    judged = [(old.exact, new.exact) for old, new in pairs if old.exact is not None and new.exact is not None]
    return AnswerPairs(
        pairs=len(pairs), changed=sum(old.text != new.text for old, new in pairs),
        lost=sum(old and not new for old, new in judged), gained=sum(new and not old for old, new in judged),
        judged=len(judged), alone=len(alone),
    )  # fmt: skip


def _stretched(answers: list[AnswerOf], count: int) -> list[AnswerOf]:
    steady = answers and len({answer.text for answer in answers}) == 1
    return answers + [answers[-1]] * (count - len(answers)) if steady else answers


def _by_question(answers: Collection[AnswerOf]) -> dict[str, list[AnswerOf]]:
    found: dict[str, list[AnswerOf]] = defaultdict(list)
    for answer in sorted(answers, key=lambda each: each.repeat):
        found[answer.question].append(answer)
    return found


def _values(side: Side, name: str) -> tuple[Any, ...]:
    """Distinct values, in the order in which they appear; JSON values cannot be hashed."""
    found: list[Any] = []
    for setting in side.settings:
        if (value := setting.get(name)) not in found:
            found.append(value)
    return tuple(found)


def _gates(before: Side, after: Side, rules: Rules) -> Mapping[str, MetricGate]:
    if rules.gates:
        return rules.gates
    names = sorted({*before.samples, *after.samples})
    directions = {name: direction_of(name) for name in names}
    return {name: MetricGate(way) for name, way in directions.items() if way is not Direction.NEITHER}


def _metrics(before: Side, after: Side, rules: Rules) -> list[MetricVerdict]:
    gates, found = _gates(before, after, rules), []
    for name in sorted({*gates, *before.samples, *after.samples}):
        sides = before.samples.get(name, ()), after.samples.get(name, ())
        defined = [side.definitions[name] for side in (before, after) if name in side.definitions]
        if len(set(defined)) > 1:
            why = f"measured by two definitions: {defined[0][1]} and {defined[1][1]}"
            found.append(MetricVerdict(name, Verdict.NOT_COMPARABLE, why, *sides))
        else:
            gate = gates.get(name, MetricGate(Direction.NEITHER))
            found.append(judge_metric(name, *sides, gate, floor=rules.floors.get(name, 0.0)))
    return found


def _without_results(side: Side) -> tuple[Verdict, str]:
    reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(side.left_out.items()))
    only_faults = set(side.left_out) == {"infrastructure"}
    said = f"{side.label}: no run with results" + (f" ({reasons})" if reasons else "")
    return (Verdict.INFRASTRUCTURE if only_faults else Verdict.MISSING), said


def _why(verdict: Verdict, judged: Sequence[AnswerVerdict | MetricVerdict]) -> str:
    first = next((each for each in judged if each.verdict is verdict), None)
    if first is None:
        return "nothing was judged: no metric or answer on both sides has a rule"
    name = first.metric if isinstance(first, MetricVerdict) else "answers"
    rest = sum(each.verdict is verdict for each in judged) - 1
    return f"{name}: {first.why}" + (f"; {rest} more {verdict}" if rest else "")
