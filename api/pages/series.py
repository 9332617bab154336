"""Series: what can be followed over the runs of a suite, and one of them with its level, band and marks."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query, Request, Response

from api.context import Context, Given
from api.documents.history import HistoryView
from api.pages.guard import pages
from api.pages.rendering import render
from api.parameters import FreeText, NameFilter
from api.routes import baselines, history, suites
from orchestrator.errors import BadRequest
from orchestrator.model.baselines import CellKey
from orchestrator.model.suites import MetricName

router = pages()

POINTS = 200


@router.get("/series")
def show_series(
    context: Given,
    request: Request,
    suite: NameFilter | None = None,
    cell: CellKey | None = None,
    metric: Annotated[MetricName, Query()] | None = None,
    q: FreeText | None = None,
) -> Response:
    """Without `cell` and `metric`: the series that there are; with both: one of them."""
    if (cell is None) is not (metric is None) or (cell is not None and suite is None):
        raise BadRequest("one series is named by suite, cell and metric", field="suite")
    if suite is not None and cell is not None and metric is not None:
        return render(request, "one_series.html", **_one(context, suite, cell, metric))
    every = suites.list_suites(context).items
    chosen = suite or (every[0].name if every else None)
    grid = suites.show_grid(chosen, context, limit=1 + 4, q=q) if chosen else None
    return render(request, "series.html", suites=every, chosen=chosen, grid=grid, q=q)


def _one(context: Context, suite: str, cell: str, metric: str) -> dict[str, Any]:
    found = history.show_history(suite, cell, metric, context, limit=POINTS)
    band = _band(context, suite, cell, metric)
    return {
        "series": found,
        "band": band,
        "plot": _plot(found, band),
        "changes": [
            (found.points[each.start], before, each)
            for before, each in zip(found.segments, found.segments[1:], strict=False)
        ],
    }


def _band(context: Context, suite: str, cell: str, metric: str) -> Mapping[str, Any] | None:
    """What the runs of the baseline in force have measured; None without one."""
    current = baselines.list_baselines(context, suite=suite, cell=cell, limit=1).items
    if not current:
        return None
    detail = baselines.show_baseline(current[0].id, context)
    samples = [each.samples for each in detail.metrics if each.name == metric]
    values = [value for each in samples for value in each if value is not None]
    return {"id": detail.id, "low": min(values), "high": max(values)} if values else None


def _plot(found: HistoryView, band: Mapping[str, Any] | None) -> dict[str, Any]:
    """What the script draws: times in seconds since 1970."""
    levels: list[float | None] = [None] * len(found.points)
    for segment in found.segments:
        levels[segment.start : segment.end] = [segment.level] * (segment.end - segment.start)
    return {
        "at": [point.at.timestamp() for point in found.points],
        "value": [point.value for point in found.points],
        "level": levels,
        "run": [point.run for point in found.points],
        "unit": found.unit,
        "band": band and [band["low"], band["high"]],
        "changes": [found.points[each.start].at.timestamp() for each in found.segments[1:]],
        "marks": [{"at": mark.at.timestamp(), "kind": mark.kind, "what": mark.what[:200]} for mark in found.marks],
    }
