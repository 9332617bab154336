"""The history of one series over the runs of its suite."""

from typing import Annotated

from fastapi import APIRouter, Query

from api.access import GuardedRoute
from api.context import Given
from api.documents.history import HistoryView
from api.parameters import Limit, NameFilter
from orchestrator.model.baselines import CellKey
from orchestrator.model.suites import MetricName
from orchestrator.suites.history import history

router = APIRouter(prefix="/history", tags=["suites"], route_class=GuardedRoute)


@router.get("")
def show_history(
    suite: NameFilter,
    cell: CellKey,
    metric: Annotated[MetricName, Query(description="Name of a metric, or `answers`.")],
    context: Given,
    limit: Limit = 200,
) -> HistoryView:
    """The latest runs of a suite that measured this series: one point for each, where the level changed and by how
    much, and what happened meanwhile to releases, baselines, cases, card groups and hosts."""
    with context.database.read() as session:
        found = history(session, suite, cell, metric, limit=limit)
        parts = {name: getattr(found, name) for name in ("unit", "points", "segments", "marks")}
        return HistoryView.model_validate({"suite": suite, "cell": cell, "metric": metric, **parts})
