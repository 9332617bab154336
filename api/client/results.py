"""The client's calls about results as data."""

from collections.abc import Iterator
from typing import Any, Literal

from api.client.connection import Calls, segment
from api.documents.base import Page
from api.documents.results import Format, GivenAnswerView, MeasuredRunView


class ResultCalls(Calls):
    """One method per route; available as `client.results`.

    Filters are `job` (one or several), `batch`, `pipeline`, `kind`, `project`, `state`, `model`, `release`, `kcore`,
    `slot`, `name`, `q`, `since` and `until`; those of metrics also `metric` (one or several names)."""

    def metrics(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[MeasuredRunView]:
        """A page of runs with their numbers, newest first."""
        return self._connection.page(MeasuredRunView, "/results/metrics", {"limit": limit, "cursor": cursor, **filters})

    def answers(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[GivenAnswerView]:
        """A page of answers, newest job first."""
        return self._connection.page(GivenAnswerView, "/results/answers", {"limit": limit, "cursor": cursor, **filters})

    def export(self, what: Literal["metrics", "answers"], format: Format = "csv", **filters: Any) -> Iterator[bytes]:
        """All matching rows as a file, piece by piece."""
        return self._connection.bytes(f"/results/{segment(what)}/export", {"format": format, **filters})
