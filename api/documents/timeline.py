"""The documents about what happened on card groups between two times."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from orchestrator.model.timeline import SpanKind


class SpanView(View):
    """One span of a lane."""

    kind: SpanKind
    start: datetime
    end: datetime | None = Field(description="Null while it lasts.")
    state: str = Field(
        description="Of the attempt (`fault`: spoiled by the infrastructure), or `draining`, `drained`, `quarantined`, "
        "`reserved`."
    )
    job_id: int | None
    name: str | None = Field(description="Of the job; of a reservation the project that may run.")
    limit_at: datetime | None = Field(description="When what runs reaches its run limit.")


class LaneView(View):
    """A card group, its spans by their start."""

    slot_id: str
    spans: tuple[SpanView, ...]


class TimelineView(View):
    """What ran on card groups between two times, when they were reserved or out of service."""

    begin: datetime
    end: datetime
    now: datetime
    complete_from: datetime = Field(description="Attempts that ended before are not listed: there were too many.")
    lanes: tuple[LaneView, ...]
    more_lanes: int = Field(description="Card groups that are not listed.")
