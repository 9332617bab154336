"""Pipelines as documents."""

from collections.abc import Mapping, Sequence
from typing import Any

from api.documents.pipelines import PipelineDetail, PipelineView
from api.views.jobs import job_view
from orchestrator.jobs.queries import ListedJob, PipelineFacts
from orchestrator.model.states import rolled_up


def pipeline_view(facts: PipelineFacts) -> PipelineView:
    """A pipeline as lists show it."""
    return PipelineView.model_validate(_pipeline_fields(facts))


def pipeline_detail(
    facts: PipelineFacts, jobs: Sequence[ListedJob], needs: Mapping[int, Sequence[int]]
) -> PipelineDetail:
    """A pipeline with its jobs and what each needs."""
    more = {"jobs": [job_view(entry) for entry in jobs], "needs": needs}
    return PipelineDetail.model_validate({**_pipeline_fields(facts), **more})


def _pipeline_fields(facts: PipelineFacts) -> dict[str, Any]:
    row = facts.pipeline
    return {
        "id": row.id,
        "name": row.name,
        "project": row.project,
        "submitted_by": row.submitted_by,
        "created_at": row.created_at,
        "state": rolled_up(facts.counts),
        "counts": dict(facts.counts),
    }
