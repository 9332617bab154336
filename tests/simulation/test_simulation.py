"""Whatever dies, pauses, is lost or changes its mind: nothing is doubled, nothing is lost, and everything ends.

`make simulate SEEDS=2000` walks many more seeds; `SIMULATE=17` in the environment walks that one alone.
"""

import os
import shutil
from pathlib import Path

import pytest
from simulation.walk import Walk

pytestmark = pytest.mark.slow

SEEDS = range(int(os.environ.get("SIMULATE_SEEDS", "3")))
if "SIMULATE" in os.environ:
    SEEDS = range(int(os.environ["SIMULATE"]), int(os.environ["SIMULATE"]) + 1)


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_doubled_nothing_is_lost_and_everything_ends(seed: int, sqlite_template: Path, tmp_path: Path):
    shutil.copy(sqlite_template, tmp_path / "tx81.db")
    walk = Walk(seed, tmp_path / "tx81.db", tmp_path)

    with walk.told_if_it_fails():
        walk.through_the_storm(steps=400)
        walk.into_the_calm(within=20_000)
