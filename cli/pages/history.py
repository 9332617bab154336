"""How the history of a series looks on a terminal. Pure: it prints nothing."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from api.documents.history import HistoryView
from cli.pages.layout import _section, clean, local_time, row, table

_BARS = "▁▂▃▄▅▆▇█"


def sparkline(values: Sequence[float], changes: Sequence[int]) -> str:
    """One character for each value, from the least to the largest; `|` before the values at which the level changed."""
    least, most = min(values), max(values)
    step = (most - least) / (len(_BARS) - 1)
    bars = [_BARS[round((value - least) / step)] if step > 0 else _BARS[3] for value in values]
    return "".join(("|" if at in changes else "") + bar for at, bar in enumerate(bars))


def history_page(found: HistoryView) -> RenderableType:
    """One series: a line of its points, its levels, and what happened meanwhile."""
    points = found.points
    values = [point.value for point in points]
    line = sparkline(values, [each.start for each in found.segments[1:]])
    runs = f"runs {points[0].run} to {points[-1].run}, {min(values):.4g} to {max(values):.4g} {found.unit}"
    levels = table("from run", "to run", "since", "level", "unit", "change", "points", right={"level", "points"})
    for each in found.segments:
        first, last = points[each.start], points[each.end - 1]
        change = "" if each.change is None else f"{each.change:+.1%}"
        size = each.end - each.start
        row(levels, first.run, last.run, local_time(first.at), f"{each.level:.4g}", found.unit, change, size)
    parts: list[RenderableType] = [
        Text(clean(f"{found.metric} of {found.cell}, suite {found.suite}"), style="bold"),
        Text(f"  {line}"),
        Text(f"  {clean(runs)}"),
        *_section("levels", levels),
    ]
    if found.marks:
        marks = table("at", "about", "what")
        for mark in found.marks:
            row(marks, local_time(mark.at), mark.kind, mark.what)
        parts += _section("meanwhile", marks)
    return Group(*parts)
