"""The client's calls about suites and their runs."""

from collections.abc import Iterator

from api.client.connection import Calls, segment, sent
from api.documents.base import Page
from api.documents.suites import SuiteDetail, SuiteGridView, SuiteRunDetail, SuiteRunView, SuiteView
from orchestrator.model.ab import AbRequest
from orchestrator.model.suites import SuiteDocument, SuiteRunRequest


class SuiteCalls(Calls):
    """One method per route; available as `client.suites`."""

    def apply(self, document: SuiteDocument) -> SuiteDetail:
        """Make this the present version of its suite."""
        return SuiteDetail.model_validate(self._connection.put(_path(document.name), sent(document)).json())

    def all(self) -> tuple[SuiteView, ...]:
        """All suites."""
        return self._connection.page(SuiteView, "/suites", {}).items

    def show(self, suite: str) -> SuiteDetail:
        """A suite with its document, cells and versions."""
        return SuiteDetail.model_validate(self._connection.get(_path(suite)).json())

    def remove(self, suite: str) -> None:
        """Remove a suite; its runs and baselines stay."""
        self._connection.delete(_path(suite))

    def start(self, suite: str, request: SuiteRunRequest | None = None, key: str | None = None) -> SuiteRunView:
        """Submit all jobs of a suite; with the same `key`, a repeated request starts only one run."""
        body = sent(request or SuiteRunRequest())
        answer = self._connection.post(f"{_path(suite)}/runs", body, key=key, timeout=None)
        return SuiteRunView.model_validate(answer.json())

    def runs(self, suite: str, limit: int = 100, cursor: str | None = None) -> Page[SuiteRunView]:
        """A page of the runs of a suite, newest first."""
        return self._connection.page(SuiteRunView, f"{_path(suite)}/runs", {"limit": limit, "cursor": cursor})

    def grid(self, suite: str, limit: int = 20, q: str | None = None) -> SuiteGridView:
        """The latest runs of a suite, case × run; `q` is a part of the key of a case."""
        answer = self._connection.get(f"{_path(suite)}/grid", {"limit": limit, "q": q})
        return SuiteGridView.model_validate(answer.json())

    def run(self, run: int) -> SuiteRunDetail:
        """A run with its cells."""
        return SuiteRunDetail.model_validate(self._connection.get(f"/suite-runs/{segment(run)}").json())

    def start_ab(self, request: AbRequest, key: str | None = None) -> SuiteRunDetail:
        """Start an A/B run; with the same `key`, a repeated request starts only one."""
        return SuiteRunDetail.model_validate(self._connection.post("/ab-runs", sent(request), key=key).json())

    def junit(self, run: int) -> Iterator[bytes]:
        """A judged run as JUnit XML."""
        return self._connection.bytes(f"/suite-runs/{segment(run)}/junit", {})


def _path(suite: str) -> str:
    return f"/suites/{segment(suite)}"
