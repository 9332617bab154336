"""How baselines look on a terminal. Pure: it prints nothing."""

from collections.abc import Iterable
from statistics import median

from rich.console import Group, RenderableType
from rich.table import Table

from api.documents.baselines import BaselineDetail, BaselineView
from cli.pages.layout import _section, facts, heading, local_time, row, table


def baselines_table(baselines: Iterable[BaselineView]) -> Table:
    """Baselines, one a line: of which cell, from which jobs, by whom and why."""
    shown = table("baseline", "suite", "cell", "state", "jobs", "since", "by", "why", right={"baseline"})
    for each in baselines:
        jobs = ", ".join(map(str, each.jobs))
        row(shown, each.id, each.suite, each.cell, _state(each), jobs, local_time(each.since), each.author, each.reason)
    return shown


def baseline_page(found: BaselineDetail) -> RenderableType:
    """One baseline with what was copied in."""
    about = {
        "cell": found.cell,
        "jobs": ", ".join(map(str, found.jobs)),
        "since": f"{local_time(found.since)} by {found.author}: {found.reason}",
        "until": found.until and f"{local_time(found.until)} by {found.ended_by}: {found.ended_reason}",
        "in doubt": ", ".join(f"job {job}: {reason.replace('_', ' ')}" for job, reason in found.doubtful.items()),
        "answers": found.answers or None,
    }
    metrics = table("metric", "median", "unit", "samples", right={"median"})
    for each in found.metrics:
        known = [value for value in each.samples if value is not None]
        samples = ", ".join("?" if value is None else f"{value:.4g}" for value in each.samples)
        row(metrics, each.name, f"{median(known):,.4g}" if known else "", each.unit, samples)
    headline = heading(f"baseline {found.id}", found.suite, _state(found))
    return Group(headline, facts(about), *(_section("metrics", metrics) if found.metrics else []))


def _state(found: BaselineView) -> str:
    if found.until is not None:
        return "ended"
    return "doubtful" if found.doubtful else "in force"
