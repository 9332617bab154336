"""The documents about the history of a series."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from orchestrator.model.marks import MarkKind


class PointView(View):
    """One run of the suite."""

    run: int
    at: datetime
    value: float = Field(description="Median over the jobs that count; of `answers`: how many had changed.")
    count: int = Field(description="Jobs it is the median of; of `answers`: pairs that were compared.")
    outcome: str | None = Field(description="Of the cell in that run; null before it was judged.")


class SegmentView(View):
    """Points between which the level did not change: from `start` up to but not including `end`, counted from 0."""

    start: int
    end: int
    level: float = Field(description="Median of its points.")
    change: float | None = Field(description="Relative to the segment before; null for the first.")


class MarkView(View):
    """Something that happened and may explain a change."""

    at: datetime
    kind: MarkKind
    what: str


class HistoryView(View):
    """One series over the runs of its suite, oldest first."""

    suite: str
    cell: str
    metric: str
    unit: str
    points: tuple[PointView, ...]
    segments: tuple[SegmentView, ...]
    marks: tuple[MarkView, ...]
