"""Many sides against the first, the baseline: a verdict for each, one over all, and the prompts whose answers changed.

Pure. What is not comparable with the baseline has a list of fields and no prompts.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any, Literal

from orchestrator.errors import BadRequest
from orchestrator.model.verdicts import Direction, Verdict, overall
from orchestrator.results.series import SeriesSides
from orchestrator.results.sides import (
    FOLLOWS,
    NO_METRIC,
    WHERE,
    AnswerOf,
    Comparison,
    Rules,
    Side,
    compare,
    direction_of,
    paired,
)
from orchestrator.results.texts import MOST_COMPARED, TextChange, change

Shown = Literal["changed", "all", "none"]
"""Which prompts a report lists."""

MOST_DISTINCT = 20
"""Different answers to one prompt that are listed, the most frequent first."""

MOST_PAIRS = 5
"""Different changes of one prompt on one side that are listed, the most frequent first."""

MOST_PLACES = 5
"""Runs that are named for one change."""

PAGE_TEXT = 4_000_000
"""Characters of listed answers after which a page ends, whatever its limit."""

PAGE_ALIGNED = 1_000_000
"""Characters of one page whose edit similarity is computed; 2 s at the worst."""

PAGE_SCORED = 200_000
"""Characters of one page for which chrF and BLEU are computed; 3 s at the worst."""


@dataclass(frozen=True)
class DistinctAnswer:
    """One of the different answers to a prompt: how often each side gave it."""

    text: str
    exact: bool | None
    counts: Mapping[str, int]


@dataclass(frozen=True)
class AnswerChange:
    """What an answer of the baseline became on another side, and in how many of the aligned repeats."""

    label: str
    before: str
    after: str
    count: int
    places: tuple[tuple[int | None, str | None], ...]
    """Job and slot of the first ones."""
    text: TextChange


@dataclass(frozen=True)
class ComparedPrompt:
    """The answers of all sides to one prompt."""

    index: int
    """Its place among all prompts of the comparison, from 0."""
    series: Mapping[str, Any]
    question: str
    changed: bool
    answers: tuple[DistinctAnswer, ...]
    distinct: int
    """How many different answers there are, listed or not."""
    changes: tuple[AnswerChange, ...]
    different: int
    """How many different changes there are, listed or not."""
    alone: Mapping[str, int]
    """Side → its answers, or the baseline's, without a counterpart."""


@dataclass(frozen=True)
class ReportedComparison:
    """A side of a series and how it compares with the baseline there."""

    series: Mapping[str, Any]
    label: str
    found: Comparison


@dataclass(frozen=True)
class SidesReport:
    """All sides against the baseline."""

    verdict: Verdict
    why: str
    comparisons: tuple[ReportedComparison, ...]
    questions: tuple[tuple[int, str], ...]
    """Every prompt by its series, in the order of the baseline, then of the others."""
    changed: tuple[int, ...]
    """Indices of those whose answers differ from the baseline's on some side, or have no counterpart there."""


def report(series: Sequence[SeriesSides], rules: Rules) -> SidesReport:
    """Compare each side with the first of its series; BadRequest if the rules name what there is not."""
    check(rules, [side for each in series for side in each.sides])
    comparisons: list[ReportedComparison] = []
    questions: list[tuple[int, str]] = []
    changed: list[int] = []
    for number, each in enumerate(series):
        baseline, *others = each.sides
        found = [ReportedComparison(each.key, side.label, compare(baseline, side, rules)) for side in others]
        compared = _compared(each, found)
        asked = dict.fromkeys(question for side in compared for question in side.by_question)
        changed += [len(questions) + place for place, question in enumerate(asked) if _changed(question, compared)]
        questions += [(number, question) for question in asked]
        comparisons += found
    verdict = overall([each.found.verdict for each in comparisons])
    return SidesReport(verdict, _why(verdict, comparisons), tuple(comparisons), tuple(questions), tuple(changed))


def check(rules: Rules, sides: Sequence[Side]) -> None:
    """BadRequest for a field that no run has, a place that is none, or a metric of unknown direction."""
    fields = {name for side in sides for setting in side.settings for name in setting}
    for name in sorted(rules.across - fields - FOLLOWS.keys() - WHERE) if fields else ():
        known = ", ".join(sorted(fields))
        raise BadRequest(f"no run has a field {name!r}; they have {known}", field="across")
    for name in sorted(rules.strict - WHERE - {"slot"}):
        raise BadRequest(f"{name!r} is no place: write {', '.join(sorted(WHERE))} or slot", field="strict")
    for name in sorted(rules.only - {NO_METRIC}):
        if direction_of(name) is Direction.NEITHER:
            raise BadRequest(f"{name!r} cannot be judged: neither more nor less of it is better", field="metric")


def prompts(
    found: SidesReport, series: Sequence[SeriesSides], shown: Shown, *, limit: int, after: int | None = None
) -> tuple[list[ComparedPrompt], int | None]:
    """A page of prompts beyond the one of index `after`, and the index after which the next page begins."""
    if shown == "none":
        return [], None
    every: Iterable[int] = range(len(found.questions)) if shown == "all" else found.changed
    wanted = [index for index in every if after is None or index > after]
    listed: list[ComparedPrompt] = []
    rest, budget = PAGE_TEXT, _Budget()
    groups = [list(group) for _, group in groupby(wanted[:limit], key=lambda index: found.questions[index][0])]
    for page in groups:
        number = found.questions[page[0]][0]
        each = series[number]
        others = len(each.sides) - 1
        compared = _compared(each, found.comparisons[number * others : (number + 1) * others])
        placed = [_by_question(side, {found.questions[index][1] for index in page}) for side in compared]
        for index in page:
            if rest <= 0:
                break
            prompt = _prompt(index, found.questions[index][1], each.key, compared, placed, budget)
            rest -= sum(min(len(answer.text), PAGE_TEXT // MOST_DISTINCT) for answer in prompt.answers)
            listed.append(prompt)
    return listed, listed[-1].index if listed and len(listed) < len(wanted) else None


FirstTokens = Callable[[Sequence[tuple[str, str]]], Sequence[int | None] | None]
"""From pairs of texts to the index of the first token that differs in each; None if it cannot be known."""

MOST_TOKENISED = 2_000_000
"""Characters of one page that are given to a tokenizer."""


def with_first_tokens(listed: Sequence[ComparedPrompt], first_tokens: FirstTokens) -> list[ComparedPrompt]:
    """The same prompts; their changes say which token differs first, as far as the page is not too long."""
    changes, left = [], MOST_TOKENISED
    for each in (changed for prompt in listed for changed in prompt.changes):
        left -= len(each.before) + len(each.after)
        if left >= 0:
            changes.append(each)
    found = first_tokens([(each.before, each.after) for each in changes]) if changes else None
    if found is None:
        return list(listed)
    places = {id(each): place for each, place in zip(changes, found, strict=True)}
    return [
        replace(
            prompt,
            changes=tuple(
                replace(each, text=replace(each.text, first_token=places.get(id(each)))) for each in prompt.changes
            ),
        )
        for prompt in listed
    ]


class _Budget:
    """What may still be computed for a page."""

    def __init__(self) -> None:
        self._aligned, self._scored = PAGE_ALIGNED, PAGE_SCORED

    def change(self, before: str, after: str) -> TextChange:
        size = len(before) + len(after)
        work = min(len(before), MOST_COMPARED) + min(len(after), MOST_COMPARED)
        found = change(before, after, aligned=work <= self._aligned, scored=size <= self._scored)
        self._aligned -= 0 if found.similarity is None else work
        self._scored -= 0 if found.chrf is None else size
        return found


def _compared(series: SeriesSides, comparisons: Sequence[ReportedComparison]) -> list[Side]:
    """The baseline of a series and the sides whose answers were compared with it."""
    baseline, *sides = series.sides
    others = [side for side, each in zip(sides, comparisons, strict=True) if each.found.answers is not None]
    return [baseline, *others] if others else []


def _changed(question: str, sides: Sequence[Side]) -> bool:
    left = sides[0].by_question.get(question, ())
    for side in sides[1:]:
        right = side.by_question.get(question, ())
        if left is right:
            continue
        pairs, alone = paired(left, right)
        if alone or any(old.text != new.text for old, new in pairs):
            return True
    return False


def _by_question(side: Side, questions: set[str]) -> Mapping[str, Sequence[AnswerOf]]:
    found: dict[str, list[AnswerOf]] = defaultdict(list)
    for answer in side.answers:
        if answer.question in questions:
            found[answer.question].append(answer)
    return found


def _prompt(
    index: int,
    question: str,
    series: Mapping[str, Any],
    sides: Sequence[Side],
    placed: Sequence[Mapping[str, Sequence[AnswerOf]]],
    budget: _Budget,
) -> ComparedPrompt:
    given = [answers.get(question, ()) for answers in placed]
    changes, alone, different = [], {}, 0
    for side, right in zip(sides[1:], given[1:], strict=True):
        pairs, rest = paired(given[0], right)
        if rest:
            alone[side.label] = len(rest)
        unlike = Counter((old.text, new.text) for old, new in pairs if old.text != new.text)
        different += len(unlike)
        for (before, after), count in unlike.most_common(MOST_PAIRS):
            places = _places(pairs, before, after)
            changes.append(AnswerChange(side.label, before, after, count, tuple(places), budget.change(before, after)))
    answers = _distinct(sides, given)
    return ComparedPrompt(
        index, series, question, bool(changes or alone), tuple(answers[:MOST_DISTINCT]), len(answers), tuple(changes),
        different, alone,
    )  # fmt: skip


def _places(
    pairs: Iterable[tuple[AnswerOf, AnswerOf]], before: str, after: str
) -> Iterator[tuple[int | None, str | None]]:
    found = dict.fromkeys((new.job_id, new.slot_id) for old, new in pairs if old.text == before and new.text == after)
    yield from list(found)[:MOST_PLACES]


def _distinct(sides: Sequence[Side], given: Sequence[Sequence[AnswerOf]]) -> list[DistinctAnswer]:
    """The baseline's answers first, then by how often they were given."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    exact: dict[str, bool | None] = {}
    for side, answers in zip(sides, given, strict=True):
        for answer in answers:
            counts[answer.text][side.label] += 1
            exact[answer.text] = answer.exact if exact.get(answer.text) is None else exact[answer.text]
    baseline = sides[0].label
    ordered = sorted(counts, key=lambda text: (-counts[text][baseline], -counts[text].total()))
    return [DistinctAnswer(text, exact[text], dict(counts[text])) for text in ordered]


def _why(verdict: Verdict, comparisons: Sequence[ReportedComparison]) -> str:
    first = next(each for each in comparisons if each.found.verdict is verdict)
    if len(comparisons) == 1:
        return first.found.why
    rest = sum(each.found.verdict is verdict for each in comparisons) - 1
    return f"{first.label}: {first.found.why}" + (f"; {rest} more {verdict}" if rest else "")
