"""Every figure, one after the other: `make bench`; or one, with its options: `python -m benchmarks makespan 9`."""

import sys

from benchmarks import cached, latency, lines, makespan, memory, placement

PARTS = {part.__name__.rpartition(".")[2]: part for part in (latency, cached, placement, makespan, memory, lines)}

if len(sys.argv) > 1:
    name = sys.argv.pop(1)
    if name not in PARTS:
        sys.exit(f"there is no benchmark {name!r}: there are {', '.join(PARTS)}")
    PARTS[name].main()
else:
    for name, part in PARTS.items():
        print(f"── {name}", flush=True)
        part.main()
