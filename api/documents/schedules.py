"""The documents about schedules; what a client sends is in `orchestrator.model.schedules`."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from api.documents.suites import SuiteRunView
from orchestrator.model.schedules import FiringState, Missed, Overlap
from orchestrator.model.suites import RunPurpose


class FiringView(View):
    """The outcome of one due time."""

    due_at: datetime
    at: datetime
    state: FiringState
    given_up: int = Field(description="Due times before this one that were missed and not made up for.")
    run_id: int | None
    why: str | None


class ScheduleView(View):
    """A schedule as it stands."""

    name: str
    suite: str
    cron: str
    zone: str
    missed: Missed
    overlap: Overlap
    purpose: RunPurpose
    paused: bool
    max_age_seconds: int | None
    changed_by: str
    changed_at: datetime
    next_times: tuple[datetime, ...] = Field(description="The next five due times; none while it is paused.")
    last: FiringView | None
    last_run: SuiteRunView | None = Field(description="The latest run that it has started.")
    problem: str | None = Field(description="Why the next due time will be refused; null if nothing is wrong.")


class ScheduleDetail(ScheduleView):
    """A schedule with its latest firings."""

    firings: tuple[FiringView, ...]
