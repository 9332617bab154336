"""Comparisons: from sides to documents."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from api.documents.comparisons import (
    AnswerVariant,
    ChangedAnswer,
    ChangePlace,
    ComparedAnswers,
    ComparedMetric,
    ComparedPromptView,
    ComparedSide,
    ComparedSubject,
    SettingDifference,
    TextPart,
)
from orchestrator.comparisons.subjects import ResultSubject
from orchestrator.results.reports import AnswerChange, ComparedPrompt, ReportedComparison
from orchestrator.results.sides import Side
from orchestrator.results.texts import THOUGHT_ENDS, final_answer
from orchestrator.results.verdicts import AnswerVerdict, MetricVerdict, finite

SHOWN = 4_000
"""Characters of an answer or a question that a document has."""

AROUND = 40
"""Characters of an excerpt before the first difference, and twice as many from there on."""


def subject_view(subject: ResultSubject, sides: Sequence[Side]) -> ComparedSubject:
    """A subject as its sides in all series, and what its runs have in common."""
    left_out = sum((Counter(side.left_out) for side in sides), Counter())
    used = sorted(job for side in sides for job in side.jobs)
    return ComparedSubject(
        subject=subject.label, jobs=len(used) + left_out.total(), used=tuple(used), left_out=dict(left_out),
        answers=sum(len(side.answers) for side in sides),
        setting=_in_common([setting for side in sides for setting in side.settings]),
    )  # fmt: skip


def side_view(compared: ReportedComparison, before: Side, after: Side) -> ComparedSide:
    """A side compared with the baseline."""
    found = compared.found
    return ComparedSide(
        subject=compared.label, series=dict(compared.series), verdict=found.verdict, why=found.why,
        differences=tuple(SettingDifference.model_validate(each) for each in found.differences),
        metrics=tuple(_metric(each, before, after) for each in found.metrics),
        answers=None if found.answers is None else _answers(found.answers),
    )  # fmt: skip


def prompt_view(prompt: ComparedPrompt) -> ComparedPromptView:
    """One prompt with its different answers and their changes, long texts cut."""
    places = {answer.text: index for index, answer in enumerate(prompt.answers)}
    answers = (
        AnswerVariant(
            answer=_part(answer.text),
            final=_part(final_answer(answer.text)) if THOUGHT_ENDS in answer.text else None,
            exact=answer.exact, counts=dict(answer.counts),
        )
        for answer in prompt.answers
    )  # fmt: skip
    return ComparedPromptView(
        index=prompt.index, series=dict(prompt.series), question=_part(prompt.question),
        changed=prompt.changed, answers=tuple(answers),
        distinct=prompt.distinct, changes=tuple(_change(each, places) for each in prompt.changes),
        different=prompt.different, alone=dict(prompt.alone),
    )  # fmt: skip


def _in_common(settings: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = settings or ({},)
    return {
        name: value
        for name, value in sorted(first.items())
        if all(name in other and other[name] == value for other in others)
    }


def _metric(metric: MetricVerdict, before: Side, after: Side) -> ComparedMetric:
    unit, definition = before.definitions.get(metric.metric) or after.definitions.get(metric.metric) or (None, None)
    shift = metric.shift
    return ComparedMetric(
        metric=metric.metric, verdict=metric.verdict, why=metric.why, unit=unit, definition=definition,
        before=metric.before, after=metric.after, difference=None if shift is None else finite(shift.difference),
        low=None if shift is None else finite(shift.low), high=None if shift is None else finite(shift.high),
        relative=metric.relative, threshold=metric.threshold, p_value=metric.p_value, corrected=metric.corrected,
        needed=metric.needed,
    )  # fmt: skip


def _answers(found: AnswerVerdict) -> ComparedAnswers:
    pairs = found.pairs
    return ComparedAnswers(
        verdict=found.verdict, why=found.why, pairs=pairs.pairs, changed=pairs.changed, judged=pairs.judged,
        lost=pairs.lost, gained=pairs.gained, alone=pairs.alone, p_value=found.p_value,
    )  # fmt: skip


def _change(change: AnswerChange, indices: Mapping[str, int]) -> ChangedAnswer:
    text = change.text
    start = max(0, (text.first_character or 0) - AROUND)
    end = start + 3 * AROUND
    return ChangedAnswer(
        subject=change.label, count=change.count, before=indices.get(change.before), after=indices.get(change.after),
        before_excerpt=change.before[start:end], after_excerpt=change.after[start:end],
        places=tuple(ChangePlace(job_id=job_id, slot_id=slot_id) for job_id, slot_id in change.places),
        first_character=text.first_character, first_token=text.first_token, similarity=text.similarity,
        chrf=text.chrf, bleu=text.bleu, length_ratio=text.length_ratio, final_equal=text.final_equal,
        bounded=text.bounded,
    )  # fmt: skip


def _part(text: str) -> TextPart:
    return TextPart(text=text[:SHOWN], characters=len(text))
