"""What a service loads before it is needed: large libraries wait for the first use."""

import subprocess
import sys

import pytest

LATE = {"apprise", "numpy", "pyarrow", "rapidfuzz", "ruptures", "sacrebleu", "scipy", "tokenizers"}
"""Each takes longer to load than most requests to answer."""
SERVICES = "api.app, cli.main, orchestrator.dispatcher.main, orchestrator.results.history, workers.main"


@pytest.mark.slow
def test_no_process_loads_a_large_library_before_it_is_used():
    code = f"import {SERVICES}, sys; print(*sorted({LATE} & set(sys.modules)))"

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "\n"
