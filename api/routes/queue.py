"""The queue: its classes, why the first job of each waits, and which job comes next on which slot."""

from fastapi import APIRouter

from api.access import GuardedRoute
from api.context import Given
from api.documents.queue import QueueView
from api.views.queue import queue_view
from orchestrator.scheduling import explanation

router = APIRouter(prefix="/queue", tags=["jobs"], route_class=GuardedRoute)

MOST_CLASSES = 8
"""Each is explained, which takes some statements."""


@router.get("")
def show_queue(context: Given) -> QueueView:
    """The longest classes of queued jobs, each explained by its first job."""
    settings = context.settings
    with context.database.read() as session:
        now = context.database.now(session)
        found = explanation.lineup(
            session, now=now, lost_after=settings.lease, aging=settings.aging, most=MOST_CLASSES
        )  # fmt: skip
        return queue_view(found)
