"""A comparison as Markdown, for a merge request or a chat. Pure.

Answers are hostile text: nothing in them is markup.
"""

import re
from collections.abc import Iterable

from api.documents.comparisons import ComparedPromptView, ComparedSide, ComparisonReport
from cli.pages.comparison_words import (
    answers_line,
    change_line,
    counts,
    excerpts,
    in_series,
    interval,
    is_deep,
    line_of,
    number,
    percent,
    places_of,
    prompt_title,
    samples,
    setting_value,
    title,
    unlisted,
)
from cli.terminal import visible

_MARKUP = re.compile(r"([\\`*_{}\[\]()<>#+\-.!|~&@:$=\"'^])")


def markdown(report: ComparisonReport) -> str:
    """The whole report; it ends with a line break."""
    lines = [f"# {escaped(title(report))}", "", f"**{report.verdict}**: {escaped(report.why)}", ""]
    lines += _table(
        ("subject", "jobs", "used", "answers", "left out"),
        (
            (each.subject, each.jobs, len(each.used), each.answers, _reasons(each.left_out))
            for each in report.subjects
        ),
    )  # fmt: skip
    for side in report.comparisons:
        lines += _side(side)
    if report.items:
        lines += ["## Prompts", ""]
    for prompt in report.items:
        lines += _prompt(prompt)
    if (left := unlisted(report)) is not None:
        lines += [left, ""]
    return "\n".join(lines)


def escaped(text: object) -> str:
    """In one line, every character that Markdown or HTML could take as markup behind a backslash."""
    return _MARKUP.sub(r"\\\1", visible(" ".join(str(text).split()), kept=""))


def _reasons(left_out: dict[str, int]) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in left_out.items())


def _side(side: ComparedSide) -> list[str]:
    lines = [f"## {escaped(in_series(side.subject, side.series))}: {side.verdict}", "", escaped(side.why), ""]
    if side.differences:
        rows = (
            (each.field, setting_value(each.before), setting_value(each.after), "yes" if each.allowed else "no")
            for each in side.differences
        )
        lines += _table(("differs", "before", "after", "allowed"), rows)
    if (answers := answers_line(side)) is not None:
        lines += [f"Answers: {escaped(answers)}", ""]
    if side.metrics:
        rows_of_metrics = (
            (
                each.metric, samples(each.before, each.unit), samples(each.after, each.unit), percent(each.relative),
                interval(each), number(each.p_value), number(each.corrected), each.verdict, each.why,
            )
            for each in side.metrics
        )  # fmt: skip
        columns = ("metric", "before", "after", "change", "95 % interval", "p", "corrected p", "verdict", "why")
        lines += _table(columns, rows_of_metrics)
    return lines


def _prompt(prompt: ComparedPromptView) -> list[str]:
    lines = [
        f"### {escaped(prompt_title(prompt))}",
        "",
    ]
    rows = ((place, counts(each.counts), line_of(each.answer)) for place, each in enumerate(prompt.answers, start=1))
    lines += _table(("answer", "given by", "text"), rows)
    for change in prompt.changes:
        where = places_of(change)
        said = f"{change.subject}, {change.count} ×: {change_line(change)}" + (f"; {where}" if where else "")
        lines.append(f"- {escaped(f'{said}; {excerpts(change)}' if is_deep(change) else said)}")
    if prompt.alone:
        lines.append(f"- without a counterpart: {escaped(counts(prompt.alone))}")
    return [*lines, ""]


def _table(columns: Iterable[str], rows: Iterable[Iterable[object]]) -> list[str]:
    names = list(columns)
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    lines += [f"| {' | '.join(escaped(cell) for cell in cells)} |" for cells in rows]
    return [*lines, ""]
