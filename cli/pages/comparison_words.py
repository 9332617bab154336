"""The values of a comparison as a person reads them, the same in every format. Pure; nothing here is escaped."""

import json
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from api.documents.comparisons import (
    ChangedAnswer,
    ComparedMetric,
    ComparedPromptView,
    ComparedSide,
    ComparisonReport,
    TextPart,
)
from cli.pages.layout import short

LONGEST_LINE = 200
"""Characters of a text that is shown in one line."""


def number(value: float | None) -> str:
    """An integer as it is, else four significant digits; nothing for none."""
    return "" if value is None else str(value) if isinstance(value, int) else f"{value:.4g}"


def percent(value: float | None) -> str:
    """With its sign; nothing for none."""
    return "" if value is None else f"{value:+.1%}"


def samples(values: Sequence[float], unit: str | None) -> str:
    """Median and number of the samples."""
    return f"{number(median(values))} {unit or ''}".rstrip() + f" (n {len(values)})" if values else "none"


def relative_interval(metric: ComparedMetric) -> tuple[float, float] | None:
    """The 95 % interval of the difference as shares of the median before; None if there is none."""
    if metric.low is None or metric.high is None or not metric.before or not (middle := abs(median(metric.before))):
        return None
    return metric.low / middle, metric.high / middle


def interval(metric: ComparedMetric) -> str:
    """The relative 95 % interval."""
    found = relative_interval(metric)
    return "" if found is None else f"{percent(found[0])} … {percent(found[1])}"


def setting_value(values: Sequence[Any]) -> str:
    """The different values of a field; digests cut."""
    return ", ".join(_one(value) for value in values)


def _one(value: Any) -> str:
    if value is None:
        return "not known"
    if isinstance(value, str):
        return short(value) if value.startswith("sha256:") else value
    if isinstance(value, list):
        return " + ".join(map(_one, value))
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def counts(given: Mapping[str, int]) -> str:
    """How often each side did something."""
    return ", ".join(f"{count} × {name}" for name, count in given.items())


def line_of(part: TextPart) -> str:
    """A text in one line, cut."""
    line = " ".join(part.text.split())
    cut = part.characters > len(part.text) or len(line) > LONGEST_LINE
    return f"{line[:LONGEST_LINE]}… ({part.characters} characters)" if cut else line


def in_series(name: str, series: Mapping[str, Any]) -> str:
    """A name, and which series of several it belongs to."""
    told = ", ".join(f"{field} {setting_value((value,))}" for field, value in series.items())
    return f"{name} ({told})" if told else name


def prompt_title(prompt: ComparedPromptView) -> str:
    """Number, series and beginning of a prompt."""
    return f"{in_series(f'prompt {prompt.index + 1}', prompt.series)}: {line_of(prompt.question)}"


def answers_line(side: ComparedSide) -> str | None:
    """The answers of a side in one line; None if they were not compared."""
    if (found := side.answers) is None:
        return None
    said = f"{found.verdict}: {found.why}"
    return said if found.p_value is None else f"{said} (McNemar)"


def change_line(change: ChangedAnswer) -> str:
    """How far an answer changed, in one line."""
    final = {True: "equal", False: "differs", None: ""}[change.final_equal]
    at_least = "at least " if "similarity" in change.bounded and change.similarity is not None else ""
    told = {
        "first differing character": number(change.first_character),
        "token": number(change.first_token),
        "similarity": at_least + _computed(change.similarity),
        "chrF": _computed(change.chrf),
        "BLEU": _computed(change.bleu),
        "length ratio": number(change.length_ratio),
        "final answer": final,
    }
    return ", ".join(f"{name} {value}" for name, value in told.items() if value)


def _computed(value: float | None) -> str:
    return "not computed (too long)" if value is None else number(value)


def excerpts(change: ChangedAnswer) -> str:
    """The texts around the first difference, in one line."""
    return f"{change.before_excerpt!r} became {change.after_excerpt!r}"


def is_deep(change: ChangedAnswer) -> bool:
    """Whether the first difference lies where a line that shows the beginning of the answer does not."""
    return (change.first_character or 0) >= LONGEST_LINE // 2


def places_of(change: ChangedAnswer) -> str:
    """Where a changed answer was given."""
    named = [f"job {each.job_id} on {each.slot_id}" for each in change.places if each.job_id is not None]
    return ", ".join(named)


def title(report: ComparisonReport) -> str:
    """What is compared with what."""
    baseline, *others = (each.subject for each in report.subjects)
    return f"{', '.join(others)} against {baseline}"


def unlisted(report: ComparisonReport) -> str | None:
    """How many changed prompts are not listed; None if all are."""
    listed = sum(each.changed for each in report.items)
    left = report.changed_prompts - listed
    return f"{left} of {report.changed_prompts} changed prompts are not listed" if left else None
