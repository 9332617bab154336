"""The habits of the house that a reader would miss, checked."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from orchestrator.model.cases import CASE_TRANSITIONS
from orchestrator.model.states import TRANSITIONS, diagram

ROOT = Path(__file__).parents[2]
PACKAGES = ("tx81", "orchestrator", "workers", "api", "cli", "emulator", "migrations")
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


STATEMENTS = {"select", "insert", "update", "delete", "text"}


def _statements(file: Path) -> set[str]:
    """The constructors of SQL statements that a module imports; of one that imports all of SQLAlchemy, that."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "sqlalchemy":
            names |= STATEMENTS.intersection(alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "sqlalchemy"}
    return names


def test_workers_and_routes_build_no_sql_statement():
    builders = {
        str(file.relative_to(ROOT)): found for file in _sources("workers", "api/routes") if (found := _statements(file))
    }

    assert builders == {}
    assert _statements(ROOT / "orchestrator" / "jobs" / "lifecycle.py") == {"select", "update"}


def test_a_public_class_name_means_one_thing():
    owners = defaultdict(set)
    for file in _sources("orchestrator", "api", "cli"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                owners[node.name].add(str(file.relative_to(ROOT)))

    assert len(owners) > 200
    assert {name: files for name, files in owners.items() if len(files) > 1} == {}


def _unquoted(file: Path) -> list[int]:
    """Lines with a path into which something is written that is no `segment`."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        first = node.values[0] if isinstance(node, ast.JoinedStr) and node.values else None
        if isinstance(first, ast.Constant) and str(first.value).startswith("/"):
            words = [part for part in node.values if isinstance(part, ast.FormattedValue)]
            found += [word.lineno for word in words if not ast.unparse(word.value).startswith("segment(")]
    return found


def test_what_the_client_writes_into_a_path_is_quoted():
    unquoted = {str(file.relative_to(ROOT)): lines for file in _sources("api/client") if (lines := _unquoted(file))}

    assert unquoted == {}


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


def _map() -> str:
    return (ROOT / "ARCHITECTURE.md").read_text().split("## Map\n")[1]


def _packages() -> set[str]:
    """Every folder of the product that a newcomer sees, and its sub-folders where it has any of its own."""
    tops = ("orchestrator", "api", "cli", "workers", "emulator")
    layered = [child for top in tops for child in (ROOT / top).rglob("*/")]
    found = {str(each.relative_to(ROOT)) for each in layered if any(each.glob("*.py")) or any(each.glob("*.yaml"))}
    return found | {"migrations", "tx81"}


def test_the_map_has_one_line_for_each_package():
    listed = re.findall(r"^\| `([\w/]+)/` \|", _map(), flags=re.MULTILINE)

    assert sorted(listed) == sorted(_packages())


def _is_defined(name: str) -> bool:
    """Whether `package.module.function` or `package.module.Class.method` is in the source."""
    *path, last = name.split(".")
    for depth in range(len(path), 0, -1):
        file = ROOT.joinpath(*path[:depth]).with_suffix(".py")
        if file.is_file():
            body: list[ast.stmt] = ast.parse(file.read_text()).body
            for part in (*path[depth:], last):
                found = [each for each in body if getattr(each, "name", None) == part]
                if not found:
                    return False
                body = getattr(found[0], "body", [])
            return True
    return False


def test_the_ways_through_the_house_name_what_is_there():
    ways = _map().split("## Four ways")[1].split("\n## ")[0]
    named = re.findall(r"`([a-z]+(?:\.\w+)+)`", ways)

    assert len(named) > 20
    assert [name for name in named if not _is_defined(name)] == []


@pytest.mark.parametrize("package", sorted(_packages()))
def test_a_package_says_in_a_few_lines_what_is_true_there(package: str):
    init = ROOT / package / "__init__.py"
    if not init.exists():
        assert package in ("orchestrator/profiles", "emulator/variants")  # data, no code
        return
    said = ast.get_docstring(ast.parse(init.read_text()))

    assert said
    assert len(said.splitlines()) <= 5


def test_the_drawing_of_the_states_is_the_table_of_the_states():
    drawn = (ROOT / "ARCHITECTURE.md").read_text().split("<!-- states -->\n```mermaid\n")[1].split("```")[0]

    assert drawn == diagram(TRANSITIONS)


def test_the_drawing_of_the_states_of_a_case_is_their_table():
    drawn = (ROOT / "docs" / "results.md").read_text().split("<!-- case states -->\n```mermaid\n")[1].split("```")[0]

    assert drawn == diagram(CASE_TRANSITIONS)


def test_no_refusal_names_a_route_as_its_remedy():
    """Most of those who read one have typed a command."""
    routes = re.compile(r"\b(GET|POST|PUT|PATCH|DELETE) /|/api/v1")

    found = [
        (str(path), text.value)
        for path in sorted((ROOT / "orchestrator").rglob("*.py"))
        for refusal in ast.walk(ast.parse(path.read_text()))
        if isinstance(refusal, ast.Raise)
        for text in ast.walk(refusal)
        if isinstance(text, ast.Constant) and isinstance(text.value, str) and routes.search(text.value)
    ]

    assert found == []


NUMBERED_BY_THE_GUIDE = {
    "orchestrator/model/slots.py", "orchestrator/model/batch_runs.py", "orchestrator/model/card_specs.py",
    "orchestrator/model/kcores.py", "orchestrator/model/spec_words.py",
    "orchestrator/submission/demand.py", "workers/toolchain/commands.py", "cli/demo/demo.py",
}  # fmt: skip
"""What still counts cards and groups as the guide's host has them. A module may leave this list; none is added."""


def test_only_a_few_modules_know_how_many_cards_the_guides_host_has():
    known = re.compile(r"\b(CARDS_PER_HOST|CARDS_PER_GROUP|GROUPS_PER_HOST|WHOLE_HOST)\b")
    files = _sources("orchestrator", "workers", "api", "cli")
    found = {str(file.relative_to(ROOT)) for file in files if known.search(file.read_text())}

    assert found == NUMBERED_BY_THE_GUIDE
