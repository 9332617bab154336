"""How good the placing is: `python -m benchmarks makespan [SEEDS]` (default 5). Virtual time, the real `place`.

Four hosts of eight card groups and two CPU seats each. A trace is drawn from a seed: jobs arrive during the first
half of what the work would take on all slots without a gap, more than there is room for; a run limit is 1.2 to 3 times
what the job takes, which nobody knows beforehand; each build is followed by two jobs that need it. The dispatcher
decides at each arrival and each end, and sees what it would see of the queue: the heads of each group.

The makespan is held against a lower bound that no schedule can beat: the work of each kind of slot over their number,
or the longest chain from its arrival. `longest wait` is, over all seeds, the longest from the moment a job could start:
that of a gang (a job of several card groups) over that of any other job. Without gathering a gang is placed only
when a host happens to have enough free slots.
"""

import heapq
import random
import statistics
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from orchestrator.model.demand import Demand, FreeSlot
from orchestrator.model.shares import Share
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.order import urgency
from orchestrator.scheduling.placement.place import place
from orchestrator.scheduling.placement.supply import BusySlot, Supply

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
AGING = timedelta(hours=1)
SLOTS = {
    f"lab{host}.{name}": FreeSlot(f"lab{host}.{name}", SlotName.parse(name), frozenset({f"host=lab{host}"}))
    for host in range(4)
    for name in (*(f"g{index}" for index in range(8)), "cpu0", "cpu1")
}
OF_KIND = Counter(slot.name.kind for slot in SLOTS.values())

SINGLE, PAIR, HOST, BUILD = "card_group", "card_group x2", "card_group x8", "cpu"


@dataclass(frozen=True)
class Job:
    """One job of a trace; `limit` and `takes` in seconds."""

    number: int
    demand: Demand
    arrives: float
    takes: float
    limit: int
    needs: int | None = None


def drawn(seed: int, shapes: dict[str, tuple[int, float]]) -> list[Job]:
    """A trace: of each demand so many jobs, which take so many seconds on average (uneven, as real ones are)."""
    chance = random.Random(seed)
    shapes_in_turn = [shape for shape, (number, _) in shapes.items() for _ in range(number)]
    chance.shuffle(shapes_in_turn)
    jobs: list[Job] = []
    for shape in shapes_in_turn:
        jobs.append(_job(chance, len(jobs), shape, shapes[shape][1], None))
        if shape == BUILD:
            jobs += [_job(chance, len(jobs) + more, SINGLE, shapes[SINGLE][1], jobs[-1].number) for more in (0, 1)]
    span = 0.5 * max(work_bounds(jobs))
    return [replace(job, arrives=span * job.number / len(jobs)) for job in jobs]


def _job(chance: random.Random, number: int, shape: str, mean: float, needs: int | None) -> Job:
    takes = min(4 * mean, chance.lognormvariate(0, 0.6) * mean / 1.2)
    limit = int(takes * chance.uniform(1.2, 3)) + 1
    return Job(number, Demand.parse(shape).within(limit), 0.0, takes, limit, needs)


def work_bounds(jobs: Sequence[Job]) -> list[float]:
    """Of each kind of slot, how long all its work takes if no slot is ever idle."""
    work: Counter[SlotKind] = Counter()
    for job in jobs:
        work[job.demand.kind] += job.takes * job.demand.slots
    return [seconds / OF_KIND[kind] for kind, seconds in work.items()]


def bound(jobs: Sequence[Job]) -> float:
    """Seconds that no schedule can beat."""
    chains = (job.arrives + job.takes + (jobs[job.needs].takes if job.needs is not None else 0) for job in jobs)
    return max(*work_bounds(jobs), *chains)


class Lab:
    """The lab in virtual time."""

    def __init__(self, jobs: Sequence[Job], *, gathering: bool) -> None:
        self._jobs, self._gathering = jobs, gathering
        self._now = 0.0
        self._moments = [(job.arrives, job.number) for job in jobs]
        heapq.heapify(self._moments)
        self._queues: dict[Demand, dict[int, float]] = defaultdict(dict)
        self._held: dict[str, tuple[int, datetime]] = {}
        self._idle = dict.fromkeys(SLOTS)
        self._running: dict[int, tuple[str, ...]] = {}
        self._done: set[int] = set()
        self.waited: dict[int, float] = {}

    def run(self) -> float:
        """Seconds until everything has ended."""
        while self._moments:
            self._now, number = heapq.heappop(self._moments)
            self._happen(number)
            while self._moments and self._moments[0][0] == self._now:
                self._happen(heapq.heappop(self._moments)[1])
            self._turn()
        return self._now

    def _happen(self, number: int) -> None:
        """A job ends if it runs, else it arrives."""
        job = self._jobs[number]
        if number not in self._running:
            if job.needs is None or job.needs in self._done:
                self._queues[job.demand][number] = self._now
            return
        self._done.add(number)
        for slot in self._running.pop(number):
            del self._held[slot]
            self._idle[slot] = None
        for other in self._jobs[number + 1 : number + 3]:
            if other.needs == number and other.arrives <= self._now:
                self._queues[other.demand][other.number] = self._now

    def _turn(self) -> None:
        now = EPOCH + timedelta(seconds=self._now)
        busy = [BusySlot(SLOTS[slot], until) for slot, (_, until) in self._held.items()]
        supply = Supply(now, [SLOTS[slot] for slot in self._idle], busy)
        for placement in place(list(self._heads(supply)), supply, {"default": Share()}).placements:
            job = self._jobs[placement.job_id]
            self.waited[job.number] = self._now - self._queues[job.demand].pop(job.number)
            self._running[job.number] = placement.slot_ids
            for slot in placement.slot_ids:
                del self._idle[slot]
                self._held[slot] = job.number, now + timedelta(seconds=job.limit)
            heapq.heappush(self._moments, (self._now + job.takes, job.number))

    def _heads(self, supply: Supply) -> Iterator[Candidate]:
        """What the dispatcher would read of the queue."""
        for demand, queue in self._queues.items():
            most = supply.room(demand) or int(self._gathering and demand.slots > 1)
            for number in sorted(queue)[:most]:
                waited = timedelta(seconds=self._now - queue[number])
                yield Candidate(
                    number, demand, urgency(5, waited=waited, aging=AGING),
                    run_limit=timedelta(seconds=self._jobs[number].limit),
                )  # fmt: skip


TRACES = {
    "one group each": {SINGLE: (2000, 300.0)},
    "mixed": {SINGLE: (900, 300.0), PAIR: (150, 600.0), HOST: (20, 900.0), BUILD: (120, 240.0)},
}


def _measured(name: str, seeds: int, *, gathering: bool) -> None:
    ratios, used = [], []
    waits: dict[bool, float] = defaultdict(float)
    for seed in range(seeds):
        jobs = drawn(seed, TRACES[name])
        lab = Lab(jobs, gathering=gathering)
        makespan = lab.run()
        ratios.append(makespan / bound(jobs))
        work = sum(job.takes * job.demand.slots for job in jobs if job.demand.kind is SlotKind.CARD_GROUP)
        used.append(work / (makespan * OF_KIND[SlotKind.CARD_GROUP]))
        for job in jobs:
            waits[job.demand.slots > 1] = max(waits[job.demand.slots > 1], lab.waited[job.number])
    gangs = f"   longest wait: gang/single {waits[True] / waits[False]:.2f}" if waits[True] else ""
    how = "gangs gather" if gathering else "gangs do not gather"
    print(
        f"{name}, {how}: makespan/bound {statistics.median(ratios):.3f} (worst {max(ratios):.3f})   "
        f"utilisation {statistics.median(used):.2f}{gangs}   n {seeds}",
        flush=True,
    )


def main() -> None:
    """Measure and print."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    _measured("one group each", seeds, gathering=True)
    _measured("mixed", seeds, gathering=True)
    _measured("mixed", seeds, gathering=False)


if __name__ == "__main__":
    main()
