"""The documents about comparisons. No SQL here: the command line imports this module."""

from typing import Any, Literal

from pydantic import Field

from api.documents.base import View
from orchestrator.model.verdicts import Verdict

ShownPrompts = Literal["changed", "all", "none"]


class ComparedSubject(View):
    """A side of a comparison: what was named, and the runs behind it."""

    subject: str
    jobs: int = Field(description="Jobs that it stands for.")
    used: tuple[int, ...] = Field(description="Numbers of the jobs whose results count.")
    left_out: dict[str, int] = Field(
        description="Jobs whose results do not count, by reason: infrastructure, failed, cancelled, skipped, doubtful, "
        "unfinished."
    )
    answers: int
    setting: dict[str, Any] = Field(description="What all its runs have in common: models and files by digest.")


class SettingDifference(View):
    """A field that is not the same for all runs of both sides, with the different values of each."""

    field: str
    before: tuple[Any, ...]
    after: tuple[Any, ...]
    allowed: bool = Field(description="It was named by `across`, follows from what was named, or is a place.")


class ComparedMetric(View):
    """A metric of two sides. Differences are after - before; relative ones are shares of the median before."""

    metric: str
    verdict: Verdict
    why: str
    unit: str | None
    definition: str | None
    before: tuple[float, ...] = Field(description="One number of each run.")
    after: tuple[float, ...]
    difference: float | None = Field(description="Hodges-Lehmann, in the metric's unit.")
    low: float | None = Field(description="Lower end of its 95 % interval; null: the samples are too few for one.")
    high: float | None
    relative: float | None
    threshold: float | None = Field(description="Smallest relative difference that counts; null: it is not judged.")
    p_value: float | None = Field(
        description="Mann-Whitney, two-sided; exact if one side has fewer than 20 samples, without ties."
    )
    corrected: float | None = Field(
        description="After Benjamini and Hochberg's correction over the judged metrics, which decides; null for one."
    )
    needed: int | None = Field(description="For `unknown`: samples on each side that would probably suffice.")


class ComparedAnswers(View):
    """The aligned answers of two sides, counted."""

    verdict: Verdict
    why: str
    pairs: int
    changed: int
    judged: int = Field(description="Pairs with a golden answer on both sides.")
    lost: int = Field(description="Right before, wrong after.")
    gained: int = Field(description="Wrong before, right after.")
    alone: int = Field(description="Answers of one side without one of the other.")
    p_value: float | None = Field(description="McNemar, exact; null unless the rule is not_worse.")


class ComparedSide(View):
    """A subject compared with the baseline."""

    subject: str
    series: dict[str, Any] = Field(
        default={}, description="Fields that tell this series from the others, if the runs of a subject differ."
    )
    verdict: Verdict
    why: str
    differences: tuple[SettingDifference, ...]
    metrics: tuple[ComparedMetric, ...]
    answers: ComparedAnswers | None


class TextPart(View):
    """The beginning of a text."""

    text: str
    characters: int = Field(description="Of the whole text.")


class AnswerVariant(View):
    """One of the different answers to a prompt, and how often each subject gave it."""

    answer: TextPart
    final: TextPart | None = Field(description="What follows the last </think>; null without one.")
    exact: bool | None
    counts: dict[str, int]


class ChangePlace(View):
    """A run that gave a changed answer."""

    job_id: int | None
    slot_id: str | None


class ChangedAnswer(View):
    """What an answer of the baseline became on another side."""

    subject: str
    count: int = Field(description="Aligned repeats with exactly this change.")
    before: int | None = Field(description="Index in `answers`; null if it is not listed.")
    after: int | None
    before_excerpt: str = Field(description="Around the first difference.")
    after_excerpt: str
    places: tuple[ChangePlace, ...]
    first_character: int | None = Field(description="Index, from 0, of the first code point that differs.")
    first_token: int | None = Field(description="The same of the model's tokens; null without its tokenizer.")
    similarity: float | None = Field(description="Edit similarity, 0 to 1; a lower bound if it is bounded.")
    chrf: float | None = Field(description="chrF2, 0 to 100.")
    bleu: float | None = Field(description="BLEU with the tokenizer zh, 0 to 100.")
    length_ratio: float | None = Field(description="Characters after / before.")
    final_equal: bool | None = Field(description="Whether what follows the last </think> is equal.")
    bounded: tuple[str, ...] = Field(description="What was not computed as a whole, because the texts are long.")


class ComparedPromptView(View):
    """The answers of all subjects to one prompt."""

    index: int
    series: dict[str, Any] = Field(default={}, description="That in which it was asked.")
    question: TextPart
    changed: bool
    answers: tuple[AnswerVariant, ...]
    distinct: int = Field(description="Different answers, listed or not.")
    changes: tuple[ChangedAnswer, ...]
    different: int = Field(description="Different changes, listed or not.")
    alone: dict[str, int] = Field(description="Subject: answers without a counterpart.")


class ComparisonReport(View):
    """Subjects compared with the first of them, the baseline; the verdict is the gravest of all."""

    verdict: Verdict
    why: str
    subjects: tuple[ComparedSubject, ...]
    comparisons: tuple[ComparedSide, ...]
    prompts: int
    changed_prompts: int
    signatures: dict[str, str] = Field(description="How chrF and BLEU are computed, as sacreBLEU writes it.")
    items: tuple[ComparedPromptView, ...] = Field(description="A page of prompts.")
    next: str | None = Field(default=None, description="Cursor of the next page; null on the last one.")
