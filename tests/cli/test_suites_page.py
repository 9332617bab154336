"""What `docs/suites.md` and `docs/nightly.md` show can be typed and applied."""

import re
import shlex
from pathlib import Path

import pytest

from cli.main import app
from orchestrator.model.suite_cells import cells_of, plan
from orchestrator.model.suites import SuiteDocument
from orchestrator.strict_yaml import load

DOCS = Path(__file__).parents[2] / "docs"
PAGE, NIGHTLY = ((DOCS / name).read_text("utf-8") for name in ("suites.md", "nightly.md"))
COMMANDS = [command for page in (PAGE, NIGHTLY) for command in re.findall(r"^\$ tx81 (.*)$", page, flags=re.MULTILINE)]


def test_the_page_shows_commands():
    assert len(COMMANDS) >= 30


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_on_the_page_can_be_typed(command):
    function, _, ignored = app.parse_args(shlex.split(command), print_error=False, exit_on_error=False)

    assert callable(function)
    assert not ignored


@pytest.mark.parametrize("page", [PAGE, NIGHTLY])
def test_the_suite_on_the_page_is_a_suite(page):
    (text,) = re.findall(r"```yaml\n(name: .*?)```", page, flags=re.DOTALL)

    document = SuiteDocument.model_validate(load(text).values)

    assert len(plan(document, cells_of(document)).requests) == 4


def test_the_page_names_every_field_of_a_suite():
    named = set(re.findall(r"`([a-z_.]+)`", PAGE))

    fields = {name for name in SuiteDocument.model_fields if name not in ("name", "project")}
    assert fields <= named
