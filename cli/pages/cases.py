"""How cases look on a terminal. Pure: it prints nothing."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table

from api.documents.cases import CaseDetail, CaseView
from cli.pages.layout import _section, facts, heading, local_time, row, short, table
from orchestrator.model.suites import CellOutcome


def cases_table(cases: Iterable[CaseView]) -> Table:
    """Cases, one a line: where each stands, since when, and by which change."""
    shown = table("case", "state", "suite", "cause", "runs", "opened", "until", "link", right={"case"})
    for each in cases:
        until = local_time(each.until) if each.until else ""
        opened = local_time(each.opened_at)
        row(shown, each.id, each.state, each.suite, _cause(each), _runs(each), opened, until, each.link)
    return shown


def case_page(case: CaseDetail) -> RenderableType:
    """A case with its series and its trail."""
    about = {
        "cause": _cause(case),
        "became worse": _runs(case),
        "opened": local_time(case.opened_at),
        "accepted until": case.until and local_time(case.until),
        "link": case.link,
        "closed": case.closed_at and local_time(case.closed_at),
    }
    series = table("suite", "cell", "metric", "became worse", "good runs since", "jobs", right={"good runs since"})
    for each in case.series:
        jobs = ", ".join(map(str, each.jobs))
        row(series, each.suite, each.cell, each.metric, _runs(each), each.good_runs, jobs)
    trail = table("at", "by", "state", "note")
    for entry in case.entries:
        state = entry.to if entry.start in (None, entry.to) else f"{entry.start} → {entry.to}"
        row(trail, local_time(entry.at), entry.by or f"rule {entry.rule or 'worse'}", state, entry.note)
    headline = heading(f"case {case.id}", case.suite, case.state)
    return Group(headline, facts(about), *_section("series", series), *_section("trail", trail))


def _cause(case: CaseView) -> str:
    if case.outcome == CellOutcome.CARD and "slots" in case.change:
        return f"card: {', '.join(map(str, case.change['slots']['after']))}"
    told = [f"{name} {_values(found['before'])} → {_values(found['after'])}" for name, found in case.change.items()]
    return f"{case.outcome.replace('_', ' ')}: {'; '.join(told) or 'no known change'}"


def _values(values: Iterable[object]) -> str:
    return ", ".join(short(str(value)) for value in values) or "any"


def _runs(found: object) -> str:
    last_good, first_bad = getattr(found, "last_good_run", None), getattr(found, "first_bad_run", None)
    return f"after run {last_good}, by run {first_bad}" if last_good is not None else f"by run {first_bad}"
