"""Short jobs a second, beside bare Celery: `python -m benchmarks throughput [--jobs N] [--database postgresql]`.

Both sides get the same number of processes, in turns of `--turn`, so that a machine that slows down slows both. A turn
of ours lasts from the first submission to the end of its last job in SQL; one of bare Celery from the first message to
the end of its last process. The ratio of a turn is our rate over that of the turn beside it. Under it, the processor
time that each job took, by process, because that is what the ratio is made of where all processors are busy.
"""

import argparse
import statistics
import time
from collections import Counter
from dataclasses import dataclass, field

from benchmarks.processor import seconds_by_name
from benchmarks.short_jobs import Bare, Ours, both


@dataclass
class Taken:
    """What the turns of one side took."""

    name: str
    rates: list[float] = field(default_factory=list)
    """Jobs a second, by turn."""
    processor: Counter[str] = field(default_factory=Counter)

    def turn(self, side: Ours | Bare, count: int) -> None:
        """Have `count` processes run, and add what it took."""
        wanted, used, began = side.done() + count, seconds_by_name(), time.monotonic()
        side.submit([1] * count)
        side.await_ended(wanted)
        self.rates.append(count / (time.monotonic() - began))
        self.processor.update(seconds_by_name())
        self.processor.subtract(used)

    def told(self, jobs: int) -> str:
        """The median rate, and the milliseconds of processor time of a job, largest first."""
        each = [(seconds / jobs * 1000, name) for name, seconds in self.processor.items()]
        parts = ", ".join(f"{name} {spent:.1f}" for spent, name in sorted(each, reverse=True) if spent >= 0.05)
        rate = f"{self.name:12} median {statistics.median(self.rates):7.1f} jobs/s"
        return f"{rate}   processor {sum(spent for spent, _ in each):5.1f} ms a job: {parts}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks throughput")
    parser.add_argument("--jobs", type=int, default=10_000, help="of each side")
    parser.add_argument("--turn", type=int, default=500, help="jobs of one turn")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    turns = max(1, asked.jobs // asked.turn)
    jobs = turns * asked.turn
    own, other = Taken("tx81"), Taken("bare Celery")
    with both(asked.database) as (ours, bare):
        for _ in range(turns):
            own.turn(ours, asked.turn)
            other.turn(bare, asked.turn)
        ours.check(ours.done())
    ratios = sorted(mine / theirs for mine, theirs in zip(own.rates, other.rates, strict=True))
    print(other.told(jobs))
    print(own.told(jobs))
    print(
        f"{asked.database}: ratio median {statistics.median(ratios):.2f}, from {ratios[0]:.2f} to {ratios[-1]:.2f} "
        f"in {turns} turns of {asked.turn} jobs"
    )


if __name__ == "__main__":
    main()
