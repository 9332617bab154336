"""The client's calls about schedules."""

from typing import Literal

from api.client.connection import Calls, segment, sent
from api.documents.schedules import ScheduleDetail, ScheduleView
from api.documents.suites import SuiteRunView
from orchestrator.model.schedules import ScheduleDocument


class ScheduleCalls(Calls):
    """One method per route; available as `client.schedules`."""

    def all(self) -> tuple[ScheduleView, ...]:
        """All schedules."""
        return self._connection.page(ScheduleView, "/schedules", {}).items

    def show(self, schedule: str) -> ScheduleDetail:
        """A schedule with its latest firings."""
        return ScheduleDetail.model_validate(self._connection.get(_path(schedule)).json())

    def set(self, schedule: str, document: ScheduleDocument) -> ScheduleDetail:
        """Make or change a schedule."""
        return ScheduleDetail.model_validate(self._connection.put(_path(schedule), sent(document)).json())

    def order(self, schedule: str, order: Literal["pause", "resume"]) -> ScheduleDetail:
        """Pause or resume a schedule."""
        return ScheduleDetail.model_validate(self._connection.post(f"{_path(schedule)}/{order}").json())

    def run(self, schedule: str, key: str | None = None) -> SuiteRunView:
        """Run its suite now."""
        answer = self._connection.post(f"{_path(schedule)}/run", key=key, timeout=None)
        return SuiteRunView.model_validate(answer.json())

    def remove(self, schedule: str) -> None:
        """Remove a schedule."""
        self._connection.delete(_path(schedule))


def _path(schedule: str) -> str:
    return f"/schedules/{segment(schedule)}"
