"""Every figure, one after the other: `make bench`."""

from benchmarks import cached, latency, lines, memory, placement

for part in (latency, cached, placement, memory, lines):
    print(f"── {part.__name__}", flush=True)
    part.main()
