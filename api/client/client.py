"""A typed client of the API: one method per route, and streams that survive a broken connection.

Knows only HTTP and the documents; the command line is built on it.
"""

from types import TracebackType
from typing import Self

from api.client.artifacts import ArtifactCalls, ImportCalls
from api.client.baselines import BaselineCalls
from api.client.batches import BatchCalls
from api.client.canaries import CanaryCalls
from api.client.cases import CaseCalls
from api.client.comparisons import ComparisonCalls
from api.client.connection import ApiError, Connection, ServerUnreachable
from api.client.doubts import DoubtCalls
from api.client.endpoints import EndpointCalls
from api.client.events import EventCalls
from api.client.health import HealthCalls
from api.client.history import HistoryCalls
from api.client.hosts import HostCalls
from api.client.jobs import JobCalls
from api.client.logs import LogCalls
from api.client.models import ModelCalls
from api.client.notifications import NotificationCalls
from api.client.pipelines import PipelineCalls
from api.client.projects import ProjectCalls
from api.client.provisioning import ProvisionCalls
from api.client.releases import ReleaseCalls
from api.client.reservations import ReservationCalls
from api.client.results import ResultCalls
from api.client.retirements import RetirementCalls
from api.client.schedules import ScheduleCalls
from api.client.slots import SlotCalls
from api.client.suites import SuiteCalls
from api.client.tokens import TokenCalls
from api.client.triages import TriageCalls
from api.client.uploads import FileChanged

__all__ = ["ApiError", "Client", "FileChanged", "ServerUnreachable"]


class Client(
    JobCalls,
    LogCalls,
    EventCalls,
    PipelineCalls,
    ArtifactCalls,
    ModelCalls,
    ReleaseCalls,
    RetirementCalls,
    SlotCalls,
    CanaryCalls,
    HostCalls,
    HistoryCalls,
    ProjectCalls,
    TokenCalls,
    HealthCalls,
):
    """Sends requests to one server with one token. Use it as a context manager, or close it."""

    def __init__(self, base_url: str, token: str, timeout: float = 30.0) -> None:
        super().__init__(Connection(base_url, token, timeout))
        self.batches = BatchCalls(self._connection)
        self.comparisons = ComparisonCalls(self._connection)
        self.suites = SuiteCalls(self._connection)
        self.schedules = ScheduleCalls(self._connection)
        self.reservations = ReservationCalls(self._connection)
        self.imports = ImportCalls(self._connection)
        self.baselines = BaselineCalls(self._connection)
        self.cases = CaseCalls(self._connection)
        self.doubts = DoubtCalls(self._connection)
        self.endpoints = EndpointCalls(self._connection)
        self.results = ResultCalls(self._connection)
        self.provisioning = ProvisionCalls(self._connection)
        self.triages = TriageCalls(self._connection)
        self.notifications = NotificationCalls(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()
