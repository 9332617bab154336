"""`tx81 compare`: jobs, batches, pipelines and suite runs against the first of them, with one verdict as exit code."""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter, validators
from rich.console import Console

from api.client.client import Client
from api.documents.comparisons import ComparisonReport, ShownPrompts
from cli.output_files import replace_file, require_writable
from cli.pages.comparisons import comparison_page
from cli.session import HERE, Exit, Session, hint, say
from cli.terminal import visible
from orchestrator.model.verdicts import Verdict

Form = Literal["text", "json", "markdown", "html", "junit"]

ENDS = {
    Verdict.SAME: Exit.OK,
    Verdict.BETTER: Exit.OK,
    Verdict.KNOWN: Exit.OK,
    Verdict.WORSE: Exit.JOB_FAILED,
    Verdict.UNKNOWN: Exit.USAGE,
    Verdict.MISSING: Exit.USAGE,
    Verdict.NOT_COMPARABLE: Exit.USAGE,
    Verdict.INFRASTRUCTURE: Exit.FAULT,
}
"""What a verdict is to the shell: nothing that could not be judged is 0."""

PAGE = 500
"""Prompts of one request."""

_FILE_WIDTH = 160
"""Columns of a text that is written to a file."""


def compare(
    *subjects: str,
    across: list[str] | None = None,
    strict: list[str] | None = None,
    metric: list[str] | None = None,
    effect: float | None = None,
    rule: Literal["unchanged", "not_worse", "report"] = "unchanged",
    answers: ShownPrompts = "changed",
    limit: Annotated[int, Parameter(name=["--limit", "-n"], validator=validators.Number(gte=1))] = 100,
    format: Form = "text",
    out: Path | None = None,
    session: Session = HERE,
) -> Exit:
    """Compare results with those of the first subject; exit 0 same or better, 1 worse, 2 not judged, 4 infrastructure.

    Parameters
    ----------
    subjects
        Two or more: a job's number, job:12, batch:3, pipeline:7 or run:5. The first is the baseline.
    across
        Field of the setting that may differ: toolchain, precision, model, release, max_tokens …; may be repeated.
    strict
        Place that may not differ: slots, host; may be repeated.
    metric
        Judge only this metric, or none; may be repeated. Default: all whose direction is known.
    effect
        Smallest relative difference that matters. Default: 0.03.
    rule
        What answers are held to: none may change, not more may turn wrong than right, or they are only shown.
    answers
        Which prompts are listed.
    limit
        Number of prompts to list.
    format
        Format of the result. HTML is one file without scripts.
    out
        File to write it to; an existing one is replaced.
    """
    require_writable(out, "--out")
    options = {"across": across, "strict": strict, "metric": metric, "effect": effect, "rule": rule}
    with session.client() as client:
        found = _whole(client, subjects, answers, limit, options)
    form = "json" if session.as_json and format == "text" else format
    if out is not None:
        replace_file(out, visible(_written(found, form), kept="\n\t").encode())
        hint(f"{found.verdict}: {found.why}; written: {out}")
    elif form in ("text", "json"):
        replace(session, output="json" if form == "json" else "table").emit(found, comparison_page(found))
    else:
        say(lambda: print(_written(found, form), end="", flush=True))
    return ENDS[found.verdict]


def _whole(
    client: Client, subjects: Sequence[str], answers: ShownPrompts, limit: int, options: dict[str, Any]
) -> ComparisonReport:
    """The comparison with up to `limit` prompts, from as many pages as it takes."""
    found = client.comparisons.show(subjects, answers=answers, limit=min(limit, PAGE), tokens=True, **options)
    items = list(found.items)
    cursor = found.next
    while cursor is not None and len(items) < limit:
        page = client.comparisons.show(
            subjects, cursor, answers=answers, limit=min(limit - len(items), PAGE), tokens=True, **options
        )
        items += page.items
        cursor = page.next
    return found.model_copy(update={"items": tuple(items), "next": cursor})


def _written(found: ComparisonReport, form: Form) -> str:
    from cli.pages.comparison_html import html
    from cli.pages.comparison_junit import junit
    from cli.pages.comparison_markdown import markdown

    writers: dict[Form, Callable[[ComparisonReport], str]] = {
        "text": _plain,
        "json": lambda report: json.dumps(report.model_dump(mode="json"), ensure_ascii=True, indent=2) + "\n",
        "markdown": markdown,
        "html": html,
        "junit": junit,
    }
    return writers[form](found)


def _plain(found: ComparisonReport) -> str:
    page = io.StringIO()
    Console(file=page, width=_FILE_WIDTH, markup=False, highlight=False, emoji=False).print(comparison_page(found))
    return "".join(f"{line.rstrip()}\n" for line in page.getvalue().splitlines())
