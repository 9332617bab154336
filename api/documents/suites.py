"""The documents about suites and their runs; what a client sends is in `orchestrator.model.suites`."""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.documents.base import View
from orchestrator.model.suites import CellOutcome, RunPurpose
from orchestrator.model.verdicts import Verdict


class SuiteRunView(View):
    """A run of a suite, as lists show it."""

    id: int
    suite: str | None = Field(description="Null of an A/B run.")
    digest: str | None = Field(description="Version of the suite that it ran.")
    purpose: RunPurpose
    batch_id: int = Field(description="Batch of its first jobs.")
    schedule: str | None
    due_at: datetime | None
    started_by: str
    created_at: datetime
    ended_at: datetime | None
    round: int = Field(description="How often jobs were submitted for it.")
    jobs: int = Field(description="Jobs whose results are judged; builds are not counted.")
    jobs_ended: int
    verdict: Verdict | None = Field(description="Null until it has ended.")
    why: str | None
    cells: int | None
    alarms: int | None = Field(description="Cells that were worse at first and were measured again.")
    false_alarms: int | None = Field(description="Those that were not worse then.")


class SuiteCellView(View):
    """A cell of a run that was judged, with the numbers that the verdict stands on."""

    cell: str
    verdict: Verdict
    outcome: CellOutcome
    why: str
    remedy: str | None = None
    baseline: int | None = None
    slots: tuple[str, ...] = Field(description="Where it ran; of several places the worst.")
    jobs: dict[str, tuple[int, ...]] = Field(description="By role.")
    comparison: dict[str, Any] | None = Field(default=None, description="With the baseline.")
    same: dict[str, Any] | None = Field(default=None, description="Measured again on the same card group.")
    other: dict[str, Any] | None = Field(default=None, description="Measured again on another card group.")


class SuiteRunDetail(SuiteRunView):
    """A run with its cells; none until it has ended."""

    cell_reports: tuple[SuiteCellView, ...]
    ab: dict[str, Any] | None = Field(
        default=None, description="Of an A/B run: what was asked, the card group, and once it has ended each metric."
    )


class SuiteView(View):
    """A suite, as lists show it."""

    name: str
    project: str
    digest: str
    created_by: str
    created_at: datetime = Field(description="When this version was applied.")
    verdict: Verdict | None = Field(description="The last one; `missing` if it was not judged in time.")
    verdict_at: datetime | None
    missing_since: datetime | None = Field(
        description="Since when it should have been judged again (`max_age_seconds`); null if it was."
    )
    last: SuiteRunView | None = Field(description="The latest run that was judged.")
    running: SuiteRunView | None = Field(description="The latest run that has not ended.")


class SuiteVersionView(View):
    """A version of a suite."""

    digest: str
    created_by: str
    created_at: datetime


class AlarmsView(View):
    """How often a suite has raised an alarm, over its latest runs."""

    runs: int
    cells: int
    alarms: int
    false_alarms: int
    rate: float | None = Field(description="False alarms among the cells judged; null before the first.")


class SuiteDetail(SuiteView):
    """A suite with its document, its cells and its versions."""

    document: dict[str, Any] = Field(description="Normalised, with every file by digest.")
    cell_keys: tuple[str, ...]
    versions: tuple[SuiteVersionView, ...]
    alarms: AlarmsView
    against_itself: AlarmsView = Field(description="Of its A/A runs: what they call worse or better is false.")
    floors: dict[str, dict[str, dict[str, float]]] = Field(
        description="Noise floors of its A/A runs, relative: by cell, card group (empty: all) and metric."
    )
    schedules: tuple[str, ...]


class GridCellView(View):
    """A case in one run that was judged."""

    verdict: Verdict
    outcome: CellOutcome
    why: str
    unchanged: int | None = Field(description="Answers that are those of the baseline, of `compared`.")
    compared: int | None
    metric: str | None = Field(description="The judged metric that differs most from the baseline.")
    relative: float | None = Field(description="Its difference, as a share of the baseline.")


class GridRowView(View):
    """A case over the runs."""

    cell: str
    metrics: tuple[str, ...] = Field(description="Names of its series: `answers`, and what was measured last.")
    cells: tuple[GridCellView | None, ...] = Field(description="One for each run; null: not judged there.")


class SuiteGridView(View):
    """The latest runs of a suite, case × run."""

    runs: tuple[SuiteRunView, ...] = Field(description="Newest first.")
    rows: tuple[GridRowView, ...] = Field(description="The worst of the newest judged run first.")
    more_cells: int = Field(description="Cases that are not shown.")
