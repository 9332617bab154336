"""The slots that accept jobs, at one moment: those that are free, and those that become free when their job has
ended."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from orchestrator.model.demand import Demand, FreeSlot, hosts_with_enough
from orchestrator.model.windows import Window


@dataclass(frozen=True)
class BusySlot:
    """A slot in service that another job has, until `until` at the latest by that job's run limit."""

    slot: FreeSlot
    until: datetime


@dataclass(frozen=True)
class Supply:
    """All slots that have a live worker and are in service; quarantined and drained ones only if they have no job."""

    now: datetime
    free: Sequence[FreeSlot] = ()
    """Without a lease; the longest idle first."""
    busy: Sequence[BusySlot] = ()
    windows: Mapping[str, Sequence[Window]] = field(default_factory=dict)
    """Windows that are not over, by slot id."""

    def room(self, demand: Demand) -> int:
        """Number of jobs of this class that fit on the free slots if there were no other jobs and no windows."""
        return sum(len(slots) // demand.slots for slots in hosts_with_enough(demand, self.free).values())

    def could_hold(self, demand: Demand) -> bool:
        """Whether some host has the slots for such a job, free or not."""
        return bool(hosts_with_enough(demand, [*self.free, *(busy.slot for busy in self.busy)]))
