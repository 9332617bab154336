"""The client's calls about events."""

from collections.abc import Iterable, Iterator

from api.client.connection import Calls
from api.documents.jobs import EventView


class EventCalls(Calls):
    """One method per route; every `Client` has them."""

    def events(
        self,
        after: int | None = None,
        *,
        jobs: Iterable[int] = (),
        pipeline: int | None = None,
        batch: int | None = None,
    ) -> Iterator[EventView]:
        """Events from now on, or after event `after`, without end.

        Resumes by itself after a broken connection, without a gap.
        """
        asked = {"job": list(jobs), "pipeline": pipeline, "batch": batch}
        for event in self._connection.follow("/events", asked, None if after is None else str(after)):
            if event.data:
                yield EventView.model_validate_json(event.data)
