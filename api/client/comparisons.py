"""The client's calls about comparisons."""

from collections.abc import Sequence
from typing import Any

from api.client.connection import Calls
from api.documents.comparisons import ComparisonReport


class ComparisonCalls(Calls):
    """Available as `client.comparisons`."""

    def show(self, subjects: Sequence[str], cursor: str | None = None, **options: Any) -> ComparisonReport:
        """Subjects compared with the first, with a page of prompts.

        Options are `across`, `strict` and `metric` (lists of names), `effect`, `rule`, `answers` and `limit`."""
        query = {"subject": list(subjects), "cursor": cursor, **options}
        return ComparisonReport.model_validate(self._connection.get("/comparisons", query).json())
