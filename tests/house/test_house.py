"""The habits of the house that a reader would miss, checked."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.model.states import TRANSITIONS, diagram

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


def test_every_test_that_the_page_on_the_guide_names_is_there():
    page = (ROOT / "docs" / "guide.md").read_text()
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page)

    missing = [f"{file}::{test}" for file, test in named if f"def {test}(" not in (ROOT / file).read_text()]

    assert len(named) > 30
    assert missing == []


def test_nothing_names_a_package_registry():
    # Written in two parts, or this file would be found.
    parts = [("pypi", r"\.org"), ("python", "hosted"), ("registry", r"\.npmjs"), ("deb", r"\.debian"), ("js", "delivr")]
    hosts = re.compile("|".join(first + rest for first, rest in parts))
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    files = [ROOT / name for name in tracked.stdout.split("\0") if name]

    naming = [file.name for file in files if file.is_file() and hosts.search(file.read_text(errors="ignore"))]

    assert naming == []


def test_the_drawing_of_the_states_is_the_table_of_the_states():
    drawn = (ROOT / "ARCHITECTURE.md").read_text().split("<!-- states -->\n```mermaid\n")[1].split("```")[0]

    assert drawn == diagram(TRANSITIONS)
