"""A comparison as one HTML file: no script, nothing loaded, plots inline. Pure.

Answers are hostile text: everything is escaped, and the page forbids itself scripts and loading.
"""

from collections.abc import Iterable, Iterator
from html import escape

from api.documents.comparisons import (
    ChangedAnswer,
    ComparedMetric,
    ComparedPromptView,
    ComparedSide,
    ComparisonReport,
    TextPart,
)
from cli.pages import plots
from cli.pages.comparison_words import (
    answers_line,
    change_line,
    counts,
    in_series,
    interval,
    number,
    percent,
    places_of,
    prompt_title,
    relative_interval,
    samples,
    setting_value,
    title,
    unlisted,
)
from cli.terminal import visible

_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;max-width:70em;margin:2em auto;padding:0 1em;color:#1c2733;background:#fff}
table{border-collapse:collapse;margin:.6em 0}th,td{border:1px solid #d5dbe1;padding:.25em .6em;text-align:left;
vertical-align:top}th{background:#f2f5f8}pre{white-space:pre-wrap;overflow-wrap:anywhere;margin:0;max-height:24em;
overflow:auto}.verdict{font-weight:600;padding:.1em .5em;border-radius:.3em;color:#fff;background:#8a6d00}
.verdict.better,.verdict.same{background:#1d7a3a}.verdict.worse,.verdict.infrastructure{background:#b3261e}
svg{display:block;margin:.6em 0;max-width:100%}svg text{font-size:12px;fill:#1c2733}svg .tick{fill:#5b6b7b}
svg line,svg circle{stroke:#8a6d00;fill:#8a6d00;stroke-width:2}svg .axis{stroke:#9aa7b3;stroke-width:1}
svg .band{fill:#e8edf2}svg .better,svg .same,svg .after{stroke:#1d7a3a;fill:#1d7a3a}
svg .worse{stroke:#b3261e;fill:#b3261e}svg .before{stroke:#5b6b7b;fill:#5b6b7b}
summary{cursor:pointer}details{margin:.4em 0}mark{background:#ffe08a}
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def html(report: ComparisonReport) -> str:
    """The whole document."""
    head = (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f"<title>{_text(title(report))}</title><style>{_STYLE}</style></head><body>"
    )
    return "\n".join([head, *_body(report), "</body></html>", ""])


def _body(report: ComparisonReport) -> Iterator[str]:
    yield f"<h1>{_text(title(report))}</h1>"
    yield f"<p>{_verdict(report.verdict)} {_text(report.why)}</p>"
    yield _table(
        ("subject", "jobs", "used", "answers", "left out", "setting"),
        (
            (
                _text(each.subject), str(each.jobs), _text(", ".join(map(str, each.used))), str(each.answers),
                _text(", ".join(f"{count} {reason}" for reason, count in each.left_out.items())),
                _setting({name: setting_value((value,)) for name, value in each.setting.items()}),
            )
            for each in report.subjects
        ),
    )  # fmt: skip
    for side in report.comparisons:
        yield from _side(side)
    if report.items:
        yield "<h2>Prompts</h2>"
    for prompt in report.items:
        yield from _prompt(prompt)
    if (left := unlisted(report)) is not None:
        yield f"<p>{_text(left)}</p>"
    if report.signatures:
        told = "; ".join(f"{name} {signature}" for name, signature in report.signatures.items())
        yield f"<p>{_text(told)}</p>"


def _side(side: ComparedSide) -> Iterator[str]:
    yield f"<h2>{_text(in_series(side.subject, side.series))} {_verdict(side.verdict)}</h2><p>{_text(side.why)}</p>"
    if side.differences:
        rows = (
            (
                _text(each.field), _text(setting_value(each.before)), _text(setting_value(each.after)),
                "yes" if each.allowed else "no",
            )
            for each in side.differences
        )  # fmt: skip
        yield _table(("differs", "before", "after", "allowed"), rows)
    if (answers := answers_line(side)) is not None:
        yield f"<p>Answers: {_text(answers)}</p>"
    if side.metrics:
        effects = [_effect(each) for each in side.metrics if each.relative is not None]
        if effects:
            yield plots.effects([each for each in effects if each is not None])
        yield _table(
            ("metric", "before", "after", "change", "95 % interval", "p", "corrected p", "verdict"),
            (_metric(each) for each in side.metrics),
        )


def _effect(metric: ComparedMetric) -> plots.Effect:
    low, high = relative_interval(metric) or (None, None)
    assert metric.relative is not None
    return plots.Effect(visible(metric.metric), metric.relative, low, high, metric.threshold, metric.verdict)


def _metric(metric: ComparedMetric) -> tuple[str, ...]:
    unit = metric.unit
    drawn = plots.samples(metric.before, metric.after, visible(unit or "")) if metric.before and metric.after else ""
    defined = f"<details><summary>{_text(metric.metric)}</summary>{_text(metric.definition or '')}{drawn}</details>"
    return (
        defined, _text(samples(metric.before, unit)), _text(samples(metric.after, unit)), percent(metric.relative),
        interval(metric), number(metric.p_value), number(metric.corrected),
        f"{_verdict(metric.verdict)} {_text(metric.why)}",
    )  # fmt: skip


def _prompt(prompt: ComparedPromptView) -> Iterator[str]:
    yield f"<details open><summary>{_text(prompt_title(prompt))}</summary>"
    rows = (
        (
            str(place), _text(counts(each.counts)), {True: "right", False: "wrong", None: ""}[each.exact],
            _whole(each.answer),
        )
        for place, each in enumerate(prompt.answers, start=1)
    )  # fmt: skip
    yield _table(("answer", "given by", "golden", "text"), rows)
    for change in prompt.changes:
        yield _change(change)
    if prompt.alone:
        yield f"<p>without a counterpart: {_text(counts(prompt.alone))}</p>"
    yield "</details>"


def _change(change: ChangedAnswer) -> str:
    said = f"{change.subject}, {change.count} ×: {change_line(change)}"
    where = places_of(change)
    excerpts = f"<pre>{_text(change.before_excerpt)}</pre><pre>{_text(change.after_excerpt)}</pre>"
    return f"<details><summary>{_text(said)}{_text(f'; {where}' if where else '')}</summary>{excerpts}</details>"


def _whole(part: TextPart) -> str:
    cut = part.characters - len(part.text)
    return f"<pre>{_text(part.text)}</pre>" + (f"… {cut} more characters" if cut else "")


def _setting(setting: dict[str, str]) -> str:
    lines = "<br>".join(f"{_text(name)}: {_text(value)}" for name, value in setting.items())
    return f"<details><summary>{len(setting)} fields</summary>{lines}</details>"


def _table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Of cells that are escaped."""
    head = "".join(f"<th>{name}</th>" for name in columns)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>" for cells in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _verdict(verdict: str) -> str:
    return f'<span class="verdict {_text(verdict)}">{_text(verdict)}</span>'


def _text(text: str) -> str:
    return escape(visible(text, kept="\n\t"))
