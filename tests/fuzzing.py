"""How long the fuzzers of parsers run: briefly in every run of the tests, for hours by `make fuzz`."""

import os

from hypothesis import HealthCheck, settings

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", settings.default.max_examples * 3 // 5))


def bounded(share: float = 1.0) -> settings:
    """Settings of a fuzzer: `share` of the examples for one whose examples are slow; the same in each short run."""
    return settings(
        max_examples=max(5, int(EXAMPLES * share)),
        deadline=10_000,  # milliseconds, of one example
        derandomize="FUZZ_EXAMPLES" not in os.environ,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
