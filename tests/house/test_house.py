"""The habits of the house that a reader would miss, checked."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("orchestrator", "workers", "api", "cli", "emulator", "migrations")
LONGEST_MODULE = 400


def _sources(*folders: str) -> list[Path]:
    return [
        file for folder in folders for file in sorted((ROOT / folder).rglob("*.py")) if "versions" not in file.parts
    ]


def test_imports_flow_one_way():
    linter = Path(sys.executable).with_name("lint-imports")

    run = subprocess.run([linter], cwd=ROOT, capture_output=True, text=True, check=False)

    assert run.returncode == 0, run.stdout


@pytest.mark.parametrize("file", _sources(*PACKAGES), ids=lambda file: str(file.relative_to(ROOT)))
def test_a_module_is_short_enough_to_be_read(file: Path):
    assert len(file.read_text().splitlines()) <= LONGEST_MODULE


def _sleeps(file: Path) -> list[int]:
    calls = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call)]
    return [call.lineno for call in calls if ast.unparse(call.func) in ("time.sleep", "sleep")]


def test_tests_wait_for_conditions_and_never_for_time():
    sleepers = {str(file.relative_to(ROOT)): lines for file in _sources("tests") if (lines := _sleeps(file))}

    assert sleepers == {}


def test_nothing_names_a_package_registry():
    hosts = re.compile(
        "|".join(["pypi" + r"\.org", "python" + "hosted", "registry" + r"\.npmjs", "deb" + r"\.debian", "js" + "delivr"])
    )
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    naming = [
        name
        for name in tracked
        if name and (ROOT / name).is_file() and hosts.search((ROOT / name).read_bytes().decode("utf-8", "ignore"))
    ]
    assert naming == []
