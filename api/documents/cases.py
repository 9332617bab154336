"""The documents about cases; what a client sends is in `orchestrator.model.cases`."""

from datetime import datetime

from pydantic import Field

from api.documents.base import Document, View
from orchestrator.model.cases import CaseRule, CaseState


class CaseView(View):
    """A regression, as lists show it."""

    id: int
    state: CaseState
    outcome: str = Field(description="`model_or_toolchain`, `card`, or `worse` without a second measurement.")
    suite: str = Field(description="The suite in which it was seen first.")
    change: dict[str, Document] = Field(
        description="Fields of the setting that changed, with their values `before` and `after`; empty: none is known."
    )
    last_good_run: int | None = Field(description="It became worse after this run of a suite; null: never good.")
    first_bad_run: int
    opened_at: datetime
    until: datetime | None = Field(description="Accepted as a known issue until then.")
    link: str | None
    closed_at: datetime | None


class CaseSeriesView(View):
    """One metric, or the `answers`, of one cell of a suite."""

    suite: str
    cell: str
    metric: str
    last_good_run: int | None
    first_bad_run: int
    last_run: int = Field(description="The latest run that counted for it.")
    good_runs: int = Field(description="Good ones in a row since it was last worse.")
    jobs: tuple[int, ...] = Field(description="Jobs whose results showed it last.")


class CaseEntryView(View):
    """One line of the trail."""

    at: datetime
    by: str | None = Field(description="The person; null for a rule.")
    rule: CaseRule | None
    start: CaseState | None = Field(description="The state before; null if it stayed as it was.")
    to: CaseState
    note: str


class CaseDetail(CaseView):
    """A case with its series and its trail."""

    series: tuple[CaseSeriesView, ...]
    entries: tuple[CaseEntryView, ...]
