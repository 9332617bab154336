"""Tests that share a running lab are run by one process, one after the other."""

import subprocess
import sys
from pathlib import Path

import pytest

A_MODULE = """
import os
from pathlib import Path
import pytest

pytestmark = pytest.mark.xdist_group("lab")

@pytest.mark.parametrize("number", range(3))
def test_says_who_ran_it(number):
    Path(os.environ["SAID"]).joinpath(f"{__name__}-{number}").write_text(os.environ["PYTEST_XDIST_WORKER"])
"""


@pytest.mark.slow
def test_a_group_of_tests_stays_with_one_process(tmp_path: Path):
    for name in ("test_one.py", "test_other.py"):
        (tmp_path / name).write_text(A_MODULE)
    said = tmp_path / "said"
    said.mkdir()
    argv = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", "."]
    subprocess.run(argv, cwd=tmp_path, env={"SAID": str(said)}, check=True, timeout=100)
    assert len(list(said.iterdir())) == 6
    assert len({each.read_text() for each in said.iterdir()}) == 1
