"""Every figure, one after the other (`make bench`), or one of them: `python -m benchmarks throughput --jobs 2000`."""

import sys

from benchmarks import (
    attempt,
    cached,
    compare,
    hostile,
    idle_gap,
    latency,
    lines,
    makespan,
    memory,
    placement,
    proxy,
    throughput,
    verdicts,
)  # fmt: skip

PARTS = {part.__name__.rpartition(".")[2]: part for part in (
    attempt, latency, idle_gap, throughput, cached, placement, makespan, proxy, hostile, memory, compare, verdicts,
    lines,
)}  # fmt: skip

if len(sys.argv) > 1:
    name = sys.argv.pop(1)
    if name not in PARTS:
        sys.exit(f"there is no figure {name!r}: choose one of {', '.join(PARTS)}")
    PARTS[name].main()
else:
    for name, part in PARTS.items():
        print(f"── {name}", flush=True)
        part.main()
