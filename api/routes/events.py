"""Events of the whole installation, as they happen."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.access import GuardedRoute
from api.context import Given
from api.parameters import Integer, NumberFilter, ResumeAfter
from api.streams import events
from orchestrator.errors import BadRequest
from orchestrator.strict_json import LARGEST_INTEGER

router = APIRouter(prefix="/events", tags=["events"], route_class=GuardedRoute)


def _after(
    after: Annotated[Integer | None, Query(ge=0, le=LARGEST_INTEGER)] = None, resume: ResumeAfter = None
) -> int | None:
    if resume is None:
        return after
    if not resume.isdecimal() or len(resume) > 18:
        raise BadRequest("Last-Event-ID is not a number: send the `id` of an event unchanged", field="Last-Event-ID")
    return int(resume)


@router.get("", response_class=EventSourceResponse)
async def follow_events(
    context: Given,
    after: Annotated[int | None, Depends(_after)],
    job: Annotated[list[NumberFilter], Query(max_length=100)] = [],  # noqa: B006  # FastAPI copies defaults
    pipeline: NumberFilter | None = None,
    batch: NumberFilter | None = None,
    seconds: Annotated[float | None, Query(gt=0, le=86_400, description="Seconds after which the stream ends.")] = None,
) -> AsyncIterator[ServerSentEvent]:
    """Events from now on, or after event number `after`: complete, without duplicates, in order."""
    chosen = events.EventFilter(tuple(job), pipeline, batch)
    async for event in events.events(context.database, context.wakeups, chosen, after, seconds):
        yield event
