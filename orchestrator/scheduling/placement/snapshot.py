"""A job, and everything that placement uses at one moment: the input of `explain` and `earliest_start`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property

from orchestrator.model.demand import Demand, FreeSlot
from orchestrator.model.lacks import Lack
from orchestrator.model.shares import Share
from orchestrator.model.states import JobState, ServiceState, Until
from orchestrator.model.windows import Window
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.gathering import Gathering
from orchestrator.scheduling.placement.place import PlacementPlan
from orchestrator.scheduling.placement.supply import BusySlot, Supply


@dataclass(frozen=True)
class Occupant:
    """The job that has a slot: when its run limit ends, and its expected end from the duration of similar jobs."""

    job_id: int
    latest: datetime
    """Of a job that has not started, as if it started now."""
    expected: datetime
    started: bool = True


@dataclass(frozen=True)
class Standing:
    """A slot in any state."""

    slot: FreeSlot
    alive: bool = True
    service: ServiceState = ServiceState.IN_SERVICE
    occupant: Occupant | None = None
    why: str | None = None
    """Why it is out of service, if known."""
    lacks: Mapping[str, Lack] = field(default_factory=dict)
    """What its host does not have, by its name."""
    deaf: str | None = None
    """Why it counts as not alive although its worker sends heartbeats."""
    only_a_person: bool = False
    """Quarantined, and no canary returns it to service."""

    @property
    def serving(self) -> bool:
        """Whether it accepts jobs: now, or when its occupant has ended."""
        return self.alive and self.service is ServiceState.IN_SERVICE

    def takes(self, demand: Demand) -> bool:
        """Whether it accepts jobs of this class: now, or when its occupant has ended."""
        checked = demand.canary and self.alive and self.service is ServiceState.QUARANTINED
        return self.serving or checked or (demand.provision and self.free)

    @property
    def free(self) -> bool:
        """Whether `place` may assign it."""
        return self.alive and self.occupant is None and self.service is not ServiceState.DRAINING

    @property
    def offered(self) -> FreeSlot:
        """The slot as input of `place` while it is free."""
        return replace(self.slot, service=self.service)


def supply_of(slots: Sequence[Standing], now: datetime, windows: Mapping[str, Sequence[Window]]) -> Supply:
    """Slots as input of `place`, in the order in which free ones are assigned."""
    free = [each.offered for each in slots if each.free]
    busy = [BusySlot(each.slot, each.occupant.latest) for each in slots if each.serving and each.occupant]
    return Supply(now, free, busy, windows)


@dataclass(frozen=True)
class Need:
    """Another job that has to succeed first, or to be ready."""

    job_id: int
    name: str
    state: JobState
    until: Until = Until.SUCCEEDED
    met: bool = False


@dataclass(frozen=True)
class ExplainedJob:
    """The job that is explained. `candidate` is the job as input of placement."""

    candidate: Candidate
    state: JobState
    needs: Sequence[Need] = ()
    joined_to: int | None = None
    """The same build, whose result is taken."""
    joined_state: JobState = JobState.RUNNING
    """Of that job."""
    not_before: datetime | None = None
    """The end of its pause after a fault."""
    open_batch: int | None = None
    """Its batch, while that is still being written."""
    held: str | None = None
    """Who put it on hold, when and why; None unless it is held."""
    slot_id: str | None = None
    """The slot to which it is assigned."""
    rung_since: datetime | None = None
    """When it was assigned, if its worker got more than one doorbell since."""
    ahead: int = 0
    """Jobs that want the same slots and come before it, whatever the shares of projects will be; held ones do not."""
    next_job: int | None = None
    """The first of them."""
    seconds: float = 0.0
    """The expected duration."""


@dataclass(frozen=True)
class Snapshot:
    """Everything that placement uses, at one moment, and what the next turn does with it.

    `candidates` include the subject if the next turn considers it.
    """

    supply: Supply
    """`slots` as input of `place`."""
    plan: PlacementPlan
    """What `place` made of the supply and the candidates."""
    slots: Sequence[Standing] = ()
    candidates: Sequence[Candidate] = ()
    shares: Mapping[str, Share] = field(default_factory=dict)
    dispatcher_alive: bool = True
    broker: str | None = None
    """What is wrong with the broker, or with who uses it, if anything is known."""

    @property
    def now(self) -> datetime:
        """The moment."""
        return self.supply.now

    def starts(self, job: Candidate) -> bool:
        """Whether the next turn places this job."""
        return any(placement.job_id == job.job_id for placement in self.plan.placements)

    @cached_property
    def taken(self) -> dict[str, int]:
        """The slots that the next turn assigns, each with its job."""
        return {slot: placement.job_id for placement in self.plan.placements for slot in placement.slot_ids}

    @cached_property
    def set_aside(self) -> dict[str, Gathering]:
        """The slots that are set aside for a gang after the next turn."""
        return {slot: gathering for gathering in self.plan.gatherings for slot in gathering.slot_ids}

    def closing(self, slot: FreeSlot, job: Candidate, at: datetime | None = None) -> Window | None:
        """The window because of which this job must not start on the slot now, or `at`."""
        start = at or self.now
        windows = self.supply.windows.get(slot.id, ())
        return next((each for each in windows if each.closed(job.project, start, start + job.run_limit)), None)

    def gang_before(self, slot: FreeSlot, job: Candidate) -> Gathering | None:
        """The gang because of which this job must not start on the slot now."""
        gathering = self.set_aside.get(slot.id)
        late = (
            gathering is not None and gathering.job_id != job.job_id and self.now + job.run_limit > gathering.starts_at
        )
        return gathering if late else None
