import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What `make` reads, elsewhere, so that nothing here is touched."""
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "requirements.lock").touch()
    return tmp_path


def make(folder: Path, *argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["make", "-C", folder, *argv], capture_output=True, text=True, check=False)


def test_make_alone_prints_every_target_with_a_line(checkout):
    told = make(checkout).stdout

    targets = ["demo", "up", "test", "lint", "types", "bench", "lock", "clean"]
    assert [target for target in targets if f"  make {target} " not in told] == []


def test_an_unfit_interpreter_is_named_with_the_remedy(checkout):
    run = make(checkout, "demo", "PYTHON=/nowhere/python3")

    assert run.returncode != 0
    assert "3.11 or newer" in run.stderr
    assert "make PYTHON=" in run.stderr
    assert not (checkout / ".venv").exists()
