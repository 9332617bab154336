"""The events that fit a filter, as they happen."""

import time
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass

from anyio.to_thread import run_sync
from fastapi.sse import ServerSentEvent

from api.documents.jobs import EventView
from api.documents.rendering import json_of
from api.streams.wakeups import RETRY_MILLISECONDS, WakeUps
from orchestrator.jobs import queries
from orchestrator.storage.database import Database

BATCH = 200
"""Events read at once."""


@dataclass(frozen=True)
class EventFilter:
    """Which events a stream shows; what is None or empty filters nothing."""

    jobs: Collection[int] = ()
    pipeline: int | None = None
    batch: int | None = None


async def events(
    database: Database, wakeups: WakeUps, chosen: EventFilter, after: int | None, seconds: float | None
) -> AsyncIterator[ServerSentEvent]:
    """Settled events after number `after` (None: from now on), for `seconds` or until the server stops."""
    deadline = time.monotonic() + (float("inf") if seconds is None else seconds)
    while after is None and not wakeups.stopped:
        turn = wakeups.turn()
        after = wakeups.head
        if after is None:
            await wakeups.wait(turn)
    # The first event has no data: it says that the stream is open, and where, for a client that has to resume.
    yield ServerSentEvent(id=str(after), retry=RETRY_MILLISECONDS)
    while not wakeups.stopped and time.monotonic() < deadline:
        turn = wakeups.turn()
        head = wakeups.head or 0
        batch = await run_sync(_read, database, chosen, after, head) if head > (after or 0) else []
        for event in batch:
            yield ServerSentEvent(id=str(event.id), raw_data=json_of(event).decode())
        after = batch[-1].id if len(batch) == BATCH else max(head, after or 0)
        if len(batch) < BATCH:
            await wakeups.wait(turn, deadline - time.monotonic())


def _read(database: Database, chosen: EventFilter, after: int | None, head: int) -> list[EventView]:
    with database.read() as session:
        found = queries.events(
            session, after=after or 0, until=head, limit=BATCH, jobs=chosen.jobs, pipeline=chosen.pipeline,
            batch=chosen.batch,
        )  # fmt: skip
        return [EventView.model_validate(event) for event in found]
