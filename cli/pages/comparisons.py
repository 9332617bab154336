"""How a comparison looks on a terminal. Pure: it prints nothing."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.documents.comparisons import ComparedMetric, ComparedPromptView, ComparedSide, ComparisonReport
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
from cli.pages.layout import clean, facts, heading, row, table
from orchestrator.model.verdicts import SHOWN_ONLY


def comparison_page(report: ComparisonReport) -> RenderableType:
    """The verdict, then each side, then the prompts whose answers changed."""
    parts: list[RenderableType] = [heading(title(report), "", report.verdict), facts({"why": report.why})]
    parts += [_title("subjects"), _subjects(report)]
    for side in report.comparisons:
        parts += [Text("\n") + heading(in_series(side.subject, side.series), "", side.verdict), facts(_about(side))]
        if side.differences:
            differences = table("differs", "before", "after", "allowed")
            for each in side.differences:
                allowed = "yes" if each.allowed else "no"
                row(differences, each.field, setting_value(each.before), setting_value(each.after), allowed)
            parts.append(differences)
        if side.metrics:
            parts.append(_metrics(side.metrics))
    for prompt in report.items:
        parts += _prompt(prompt)
    if (left := unlisted(report)) is not None:
        parts.append(Text(f"\n{left}"))
    return Group(*parts)


def _about(side: ComparedSide) -> dict[str, object]:
    return {"why": side.why, "answers": answers_line(side)}


def _subjects(report: ComparisonReport) -> Table:
    shown = table("subject", "jobs", "used", "answers", "left out", right={"jobs", "used", "answers"})
    for each in report.subjects:
        out = ", ".join(f"{count} {reason}" for reason, count in each.left_out.items())
        row(shown, each.subject, each.jobs, len(each.used), each.answers, out)
    return shown


def _metrics(metrics: tuple[ComparedMetric, ...]) -> Table:
    numbers = ("change", "95 % interval", "p", "corrected")
    shown = table("metric", "before", "after", *numbers, "verdict", "why", right=set(numbers))
    for each in metrics:
        judged = each.verdict if each.why != SHOWN_ONLY else ""
        row(
            shown, each.metric, samples(each.before, each.unit), samples(each.after, each.unit),
            percent(each.relative), interval(each), number(each.p_value), number(each.corrected), judged, each.why,
        )  # fmt: skip
    return shown


def _prompt(prompt: ComparedPromptView) -> list[RenderableType]:
    parts: list[RenderableType] = [_title(prompt_title(prompt))]
    answers = table("answer", "given by", "text")
    for place, each in enumerate(prompt.answers, start=1):
        right = {True: " (right)", False: " (wrong)", None: ""}[each.exact]
        row(answers, place, counts(each.counts), line_of(each.answer) + right)
    parts.append(answers)
    for change in prompt.changes:
        where = places_of(change)
        said = f"  {change.subject}, {change.count} ×: {change_line(change)}" + (f"; {where}" if where else "")
        parts.append(Text(clean(said)))
        if is_deep(change):
            parts.append(Text(clean(f"    {excerpts(change)}")))
    if prompt.alone:
        parts.append(Text(clean(f"  without a counterpart: {counts(prompt.alone)}")))
    return parts


def _title(text: str) -> Text:
    return Text(f"\n{clean(text)}", style="bold")
