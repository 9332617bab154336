"""Baselines as documents."""

from typing import Any

from api.documents.baselines import BaselineDetail, BaselineMetric, BaselineView
from orchestrator.suites.baselines import BaselineFacts


def baseline_view(facts: BaselineFacts) -> BaselineView:
    """A baseline as lists show it."""
    return BaselineView.model_validate(_fields(facts))


def baseline_detail(facts: BaselineFacts) -> BaselineDetail:
    """A baseline with what was copied in."""
    row = facts.baseline
    metrics = [
        BaselineMetric(name=name, unit=row.definitions[name][0], definition=row.definitions[name][1], samples=values)
        for name, values in sorted(row.samples.items())
    ]
    given = {"settings": row.settings["runs"], "metrics": metrics, "answers": len(row.answers["given"])}
    return BaselineDetail.model_validate({**_fields(facts), **given})


def _fields(facts: BaselineFacts) -> dict[str, Any]:
    columns = set(BaselineView.model_fields) - {"jobs", "doubtful"}
    shown = {name: getattr(facts.baseline, name) for name in columns}
    return {**shown, "jobs": facts.jobs, "doubtful": facts.doubtful}
