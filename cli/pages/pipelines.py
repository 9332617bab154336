"""The table of pipelines and the page of one."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.documents.pipelines import PipelineDetail, PipelineView
from cli.pages.jobs import jobs_table
from cli.pages.layout import Times, both, counted, facts, heading, progress_of, row, table, when


def pipelines_table(pipelines: Iterable[PipelineView], times: Times = "relative") -> Table:
    """Pipelines with their jobs counted by state."""
    shown = table(
        "pipeline", "name", "project", "user", "state", "ended", "jobs", "submitted", right={"pipeline", "ended"}
    )
    for each in pipelines:
        row(
            shown, each.id, each.name, each.project, each.submitted_by, each.state, progress_of(each.counts),
            counted(each.counts), when(each.created_at, times),
        )  # fmt: skip
    return shown


def pipeline_page(pipeline: PipelineDetail) -> RenderableType:
    """A pipeline with its jobs."""
    about = {
        "project": pipeline.project,
        "submitted by": pipeline.submitted_by,
        "submitted": both(pipeline.created_at),
        "jobs": f"{counted(pipeline.counts)}; {progress_of(pipeline.counts)} ended",
    }
    headline = heading(f"pipeline {pipeline.id}", pipeline.name, pipeline.state)
    return Group(headline, facts(about), Text(""), jobs_table(pipeline.jobs))
