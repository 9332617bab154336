"""Two sides of a comparison: what was set, measured and answered on each, and one verdict over all of it. Pure.

A side is one run or several repeats of it. Answers are aligned by the prompt's text and the repeat, never by position
alone; metrics only if their definition and unit are the same.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import median
from typing import Any, Protocol, TypeVar, overload

from orchestrator.model.verdicts import AnswerRule, Direction, Verdict, overall
from orchestrator.results import statistics
from orchestrator.results.verdicts import (
    AnswerPairs,
    AnswerVerdict,
    MetricGate,
    MetricVerdict,
    judge_answers,
    judge_metric,
)

WHERE = frozenset({"slots", "host", "server_slots"})
"""Fields of a setting that say where a run happened. Repeats of one measurement may differ in them, so they never make
two sides incomparable by themselves."""

FOLLOWS: Mapping[str, frozenset[str]] = {
    "toolchain": frozenset({"toolchain", "kcore", "gm"}),
    "precision": frozenset({"precision", "backend_type", "kcore", "gm"}),
    "backend_type": frozenset({"precision", "backend_type", "kcore", "gm"}),
    "model": frozenset({"model", "backend_type", "kcore", "gm"}),
    "release": frozenset({"release", "client_release"}),
    "slot": WHERE,
}
"""What differs by itself where one of these differs: another toolchain makes another kernel image."""

NO_METRIC = "none"
"""In the place of a metric's name: no metric is judged."""

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


class Reply(Protocol):
    """What is compared of an answer."""

    @property
    def text(self) -> str:
        """Every character of it."""
        ...

    @property
    def exact(self) -> bool | None:
        """Equal to its reference; None without one."""
        ...


Replies = Mapping[str, Sequence[Reply]]
"""Question → the answers to it, in the order of their repeats. Equal ones may be one object, of whatever run."""

R = TypeVar("R", bound=Reply)


class GroupedAnswers(Sequence[AnswerOf]):
    """Answers that are known by their questions; each one's place is found when they are first looked at one by one."""

    def __init__(self, by_question: Replies, count: int, place: Callable[[], Sequence[AnswerOf]]) -> None:
        self.by_question = by_question
        self._count = count
        self._place = place

    @cached_property
    def _all(self) -> Sequence[AnswerOf]:
        return self._place()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> AnswerOf: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[AnswerOf]: ...
    def __getitem__(self, index: int | slice) -> AnswerOf | Sequence[AnswerOf]:
        return self._all[index]

    def __iter__(self) -> Iterator[AnswerOf]:
        return iter(self._all)


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
    answers: Sequence[AnswerOf] = ()
    left_out: Mapping[str, int] = field(default_factory=dict)
    """Runs that do not count, by reason: `infrastructure`, `failed`, `cancelled`, `skipped`, `doubtful`,
    `unfinished`."""
    jobs: tuple[int, ...] = ()
    """Numbers of the runs, in the order of the settings."""

    @cached_property
    def by_question(self) -> Replies:
        """The answers to each question."""
        return self.answers.by_question if isinstance(self.answers, GroupedAnswers) else _by_question(self.answers)


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
    only: frozenset[str] = frozenset()
    """Without gates: names of the metrics that are judged; empty: all, `NO_METRIC`: none."""
    effect: float = 0.03
    """Without gates: smallest relative difference that matters."""
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
        answers = judge_answers(counted(before, after), rules.answers, alpha=rules.alpha)
    gates = _gates(before, after, rules)
    judged: list[AnswerVerdict | MetricVerdict] = [each for each in metrics if each.metric in gates]
    judged += [answers] if answers and rules.answers is not AnswerRule.REPORT else []
    verdict = overall([each.verdict for each in judged])
    return Comparison(verdict, _why(verdict, judged), differences, metrics, answers)


def differing(before: Side, after: Side, rules: Rules) -> tuple[Difference, ...]:
    """Fields in which not all runs of both sides are the same."""
    names = sorted({name for side in (before, after) for setting in side.settings for name in setting})
    allowed = may_differ(rules)
    found = []
    for name in names:
        one, other = _values(before, name), _values(after, name)
        if one != other or len(one) > 1:
            found.append(Difference(name, one, other, name in allowed))
    return tuple(found) if before.settings and after.settings else ()


def may_differ(rules: Rules) -> frozenset[str]:
    """Fields of the setting that may differ: those that are named with what follows from them, and places."""
    across, strict = (
        named.union(*(FOLLOWS.get(name, frozenset()) for name in named)) for named in (rules.across, rules.strict)
    )
    return across | (WHERE - strict)


def aligned(
    before: Sequence[AnswerOf], after: Sequence[AnswerOf]
) -> tuple[list[tuple[AnswerOf, AnswerOf]], list[AnswerOf]]:
    """Pairs of answers to the same question in the same repeat, and answers of either side without a counterpart."""
    theirs, ours = _by_question(after), _by_question(before)
    pairs: list[tuple[AnswerOf, AnswerOf]] = []
    alone: list[AnswerOf] = []
    for question in dict.fromkeys([*ours, *theirs]):
        found, rest = paired(ours.get(question, ()), theirs.get(question, ()))
        pairs += found
        alone += rest
    return pairs, alone


def paired(left: Sequence[R], right: Sequence[R]) -> tuple[Sequence[tuple[R, R]], Sequence[R]]:
    """The answers of two sides to one question, repeat by repeat, and those without a counterpart.

    If one side has more repeats than the other, its last answer stands for the repeats it lacks only if all its answers
    are equal; otherwise the rest is without a counterpart."""
    if len(left) == len(right):
        return tuple(zip(left, right, strict=True)), ()
    count = max(len(left), len(right)) if left and right else 0
    left, right = _stretched(left, count), _stretched(right, count)
    common = min(len(left), len(right))
    return list(zip(left[:common], right[:common], strict=True)), [*left[common:], *right[common:]]


def pairs_of(before: Sequence[AnswerOf], after: Sequence[AnswerOf]) -> AnswerPairs:
    """The aligned answers, counted."""
    return counted(Side("before", answers=tuple(before)), Side("after", answers=tuple(after)))


def counted(before: Side, after: Side) -> AnswerPairs:
    """The aligned answers of two sides, counted."""
    ours, theirs = before.by_question, after.by_question
    pairs = changed = lost = gained = judged = 0
    alone = sum(len(answers) for question, answers in theirs.items() if question not in ours)
    for question, left in ours.items():
        right = theirs.get(question, ())
        if left is right:
            pairs += len(left)
            judged += sum(each.exact is not None for each in left)
            continue
        found, rest = paired(left, right)
        alone += len(rest)
        pairs += len(found)
        for old, new in found:
            changed += old.text != new.text
            if old.exact is not None and new.exact is not None:
                judged += 1
                lost += old.exact > new.exact
                gained += old.exact < new.exact
    return AnswerPairs(pairs=pairs, changed=changed, lost=lost, gained=gained, judged=judged, alone=alone)


def _stretched(answers: Sequence[R], count: int) -> Sequence[R]:
    steady = answers and len({answer.text for answer in answers}) == 1
    return [*answers, *[answers[-1]] * (count - len(answers))] if steady else answers


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
    names = rules.only - {NO_METRIC} if rules.only else {*before.samples, *after.samples}
    directions = {name: direction_of(name) for name in sorted(names)}
    return {
        name: MetricGate(way, effect=rules.effect, alpha=rules.alpha)
        for name, way in directions.items()
        if way is not Direction.NEITHER
    }


def _metrics(before: Side, after: Side, rules: Rules) -> list[MetricVerdict]:
    gates, found = _gates(before, after, rules), []
    names = sorted({*gates, *before.samples, *after.samples})
    sides = {name: (before.samples.get(name, ()), after.samples.get(name, ())) for name in names}
    apart = {name: why for name in names if (why := _two_definitions(before, after, name))}
    likely = {
        name: statistics.p_value(*sides[name])
        for name in names
        if name in gates and name not in apart and _has_ratio(*sides[name], gates[name])
    }
    corrected = dict(zip(likely, statistics.corrected(list(likely.values())), strict=True)) if len(likely) > 1 else {}
    for name in names:
        if name in apart:
            found.append(MetricVerdict(name, Verdict.NOT_COMPARABLE, apart[name], *sides[name]))
            continue
        gate, floor = gates.get(name, MetricGate(Direction.NEITHER)), rules.floors.get(name, 0.0)
        found.append(
            judge_metric(
                name, *sides[name], gate, floor=floor, p_value=likely.get(name), corrected=corrected.get(name)
            )
        )  # fmt: skip
    return found


def _two_definitions(before: Side, after: Side, name: str) -> str | None:
    defined = [side.definitions[name] for side in (before, after) if name in side.definitions]
    if len(set(defined)) < 2:
        return None
    (unit, definition), (other_unit, other) = defined
    if definition == other:
        return f"measured in two units: {unit} and {other_unit}"
    return f"measured by two definitions: {definition} and {other}"


def _has_ratio(before: Sequence[float], after: Sequence[float], gate: MetricGate) -> bool:
    return bool(before and after) and gate.direction is not Direction.NEITHER and median(before) != 0


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
