"""How long a busy card group stands idle between two queued jobs, beside bare Celery.

`python -m benchmarks idle_gap [--jobs N] [--database postgresql]`. Eight groups have more jobs than they can run, each
of which sleeps for 0.5 to 1 s, so that groups seldom become free together. A gap is the time from the end of one vendor
process to the beginning of the next one of the same worker, by the clock of those processes themselves.
"""

import argparse
import random
import statistics
from itertools import pairwise

from benchmarks.short_jobs import GROUPS, Bare, Ours, both

DURATIONS = (500, 1000)
"""Milliseconds; the emulator's tiny model takes about as long."""
TURNS = 4


def gaps(side: Ours | Bare, durations: list[int]) -> list[float]:
    """Milliseconds between the processes of a turn, of all workers."""
    before = {name: len(spans) for name, spans in side.spans().items()}
    wanted = side.done() + len(durations)
    side.submit(durations)
    side.await_ended(wanted)
    found = []
    for name, spans in side.spans().items():
        turn = spans[before.get(name, 0) :]
        found += [(began - ended) / 1e6 for (_, ended), (began, _) in pairwise(turn)]
    return found


def told(name: str, values: list[float]) -> str:
    """One line: median and 95th percentile."""
    cut = statistics.quantiles(values, n=20)
    return f"{name:12} p50 {statistics.median(values):7.1f} ms   p95 {cut[18]:7.1f} ms   n {len(values)}"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks idle_gap")
    parser.add_argument("--jobs", type=int, default=640, help="of each side")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    chance = random.Random(81)
    own: list[float] = []
    other: list[float] = []
    with both(asked.database) as (ours, bare):
        for _ in range(TURNS):
            durations = [chance.randint(*DURATIONS) for _ in range(max(2 * GROUPS, asked.jobs // TURNS))]
            own += gaps(ours, durations)
            other += gaps(bare, durations)
        ours.check(ours.done())
    print(told("bare Celery", other))
    print(told("tx81", own))
    mine, theirs = statistics.median(own), statistics.median(other)
    print(f"{asked.database}: ratio of medians {mine / theirs:.2f}; tx81 takes {mine - theirs:.1f} ms more")


if __name__ == "__main__":
    main()
