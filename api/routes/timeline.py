"""What happened on card groups between two times."""

from datetime import UTC, datetime, timedelta

from fastapi import APIRouter

from api.access import GuardedRoute
from api.context import Given
from api.documents.timeline import LaneView, TimelineView
from api.parameters import Moment, NameFilter
from orchestrator.errors import BadRequest
from orchestrator.slots.timeline import timeline

router = APIRouter(prefix="/timeline", tags=["slots"], route_class=GuardedRoute)

LONGEST = timedelta(days=31)
FIRST, LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
"""Between them calendars of all zones can be reckoned with."""


@router.get("")
def show_timeline(context: Given, begin: Moment, end: Moment, host: NameFilter | None = None) -> TimelineView:
    """What ran on each card group between two times, when it was reserved, and when it was out of service. Of more
    attempts than a document holds the latest are listed, completely from `complete_from` on."""
    if begin >= end:
        raise BadRequest("it is not before the end; swap them", field="begin")
    if end - begin > LONGEST:
        raise BadRequest(f"the window is longer than {LONGEST.days} days; ask for less at once", field="end")
    if begin < FIRST or end > LAST:
        raise BadRequest("the window is not between 2000 and 2100", field="begin" if begin < FIRST else "end")
    with context.database.read() as session:
        now = context.database.now(session)
        found = timeline(session, begin, end, host=host, now=now)
        return TimelineView(
            begin=begin, end=end, now=now, complete_from=found.complete_from,
            lanes=tuple(LaneView.model_validate(lane) for lane in found.lanes), more_lanes=found.more_lanes,
        )  # fmt: skip
