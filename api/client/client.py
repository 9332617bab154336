"""A typed client of the API: one method per route, and streams that survive a broken connection.

Knows only HTTP and the documents; the command line is built on it. Calls that most programs do not need are imported
at first use.
"""

from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Self

from api.client.artifacts import ArtifactCalls
from api.client.canaries import CanaryCalls
from api.client.connection import ApiError, Connection, ServerUnreachable
from api.client.events import EventCalls
from api.client.health import HealthCalls
from api.client.history import HistoryCalls
from api.client.hosts import HostCalls
from api.client.jobs import JobCalls
from api.client.logs import LogCalls
from api.client.models import ModelCalls
from api.client.pipelines import PipelineCalls
from api.client.projects import ProjectCalls
from api.client.releases import ReleaseCalls
from api.client.retirements import RetirementCalls
from api.client.slots import SlotCalls
from api.client.timeline import TimelineCalls
from api.client.tokens import TokenCalls
from api.client.uploads import FileChanged

if TYPE_CHECKING:
    from api.client.artifacts import ImportCalls
    from api.client.baselines import BaselineCalls
    from api.client.batches import BatchCalls
    from api.client.cases import CaseCalls
    from api.client.comparisons import ComparisonCalls
    from api.client.doubts import DoubtCalls
    from api.client.endpoints import EndpointCalls
    from api.client.notifications import NotificationCalls
    from api.client.provisioning import ProvisionCalls
    from api.client.reservations import ReservationCalls
    from api.client.results import ResultCalls
    from api.client.schedules import ScheduleCalls
    from api.client.sign_ins import SignInCalls
    from api.client.suites import SuiteCalls
    from api.client.triages import TriageCalls

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
    TimelineCalls,
    ProjectCalls,
    TokenCalls,
    HealthCalls,
):
    """Sends requests to one server with one token. Use it as a context manager, or close it."""

    def __init__(self, base_url: str, token: str, timeout: float = 30.0) -> None:
        super().__init__(Connection(base_url, token, timeout))

    @cached_property
    def batches(self) -> "BatchCalls":
        """Calls about batches."""
        from api.client.batches import BatchCalls

        return BatchCalls(self._connection)

    @cached_property
    def comparisons(self) -> "ComparisonCalls":
        """Calls about comparisons."""
        from api.client.comparisons import ComparisonCalls

        return ComparisonCalls(self._connection)

    @cached_property
    def suites(self) -> "SuiteCalls":
        """Calls about suites and their runs."""
        from api.client.suites import SuiteCalls

        return SuiteCalls(self._connection)

    @cached_property
    def schedules(self) -> "ScheduleCalls":
        """Calls about schedules."""
        from api.client.schedules import ScheduleCalls

        return ScheduleCalls(self._connection)

    @cached_property
    def reservations(self) -> "ReservationCalls":
        """Calls about reservations."""
        from api.client.reservations import ReservationCalls

        return ReservationCalls(self._connection)

    @cached_property
    def imports(self) -> "ImportCalls":
        """Calls about imports of kernel images and golden answers."""
        from api.client.artifacts import ImportCalls

        return ImportCalls(self._connection)

    @cached_property
    def baselines(self) -> "BaselineCalls":
        """Calls about baselines."""
        from api.client.baselines import BaselineCalls

        return BaselineCalls(self._connection)

    @cached_property
    def cases(self) -> "CaseCalls":
        """Calls about cases."""
        from api.client.cases import CaseCalls

        return CaseCalls(self._connection)

    @cached_property
    def doubts(self) -> "DoubtCalls":
        """Calls about doubts."""
        from api.client.doubts import DoubtCalls

        return DoubtCalls(self._connection)

    @cached_property
    def endpoints(self) -> "EndpointCalls":
        """Calls about servers that are ready."""
        from api.client.endpoints import EndpointCalls

        return EndpointCalls(self._connection)

    @cached_property
    def results(self) -> "ResultCalls":
        """Calls about results as tables."""
        from api.client.results import ResultCalls

        return ResultCalls(self._connection)

    @cached_property
    def provisioning(self) -> "ProvisionCalls":
        """Calls about provisioning."""
        from api.client.provisioning import ProvisionCalls

        return ProvisionCalls(self._connection)

    @cached_property
    def triages(self) -> "TriageCalls":
        """Calls about triages."""
        from api.client.triages import TriageCalls

        return TriageCalls(self._connection)

    @cached_property
    def sign_ins(self) -> "SignInCalls":
        """Calls about signing a browser in."""
        from api.client.sign_ins import SignInCalls

        return SignInCalls(self._connection)

    @cached_property
    def notifications(self) -> "NotificationCalls":
        """Calls about notifications."""
        from api.client.notifications import NotificationCalls

        return NotificationCalls(self._connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._connection.close()
