"""Every command line of README and docs can be typed; each is run by a test, or is known not to be."""

import re
import shlex

import pytest
from documented import PAGES, Command, commands_of

from cli.main import app

COMMANDS = [command for page in PAGES for command in commands_of(page)]

RUN = ("README.md", "docs/results.md", "docs/golden.md", "docs/serving.md")
"""Pages whose commands `tests/scenarios/test_documented_commands.py` runs."""

NOT_RUN = {
    r"make (demo|test)": "they contain this test, or take minutes; tests/cli/test_makefile.py",
    r"tx81 load 41 .*--rate": "takes 80 s; tests/cli/commands/test_load.py",
    r"curl ": "needs no tx81; tests/scenarios/test_one_address.py sends the same request",
    r"docs/client.md: pip": "needs a network; tests/client_only.py installs the same",
    r"docs/deployment.md: ": "needs a container runtime; tests/deploy reads the same files",
    r"docs/emulator.md: ": "the vendor's own commands; tests/emulator/test_chain.py runs them",
    r"docs/jobs.md: tx81 models add": "NAME is a place-holder; tests/cli/conftest.py registers a model so",
    r"docs/nightly.md: ": "two nights; tests/scenarios/test_suites.py and test_triage.py play them",
    r"docs/suites.md: ": "a suite of a lab; tests/scenarios/test_suites.py runs the one on the page",
    r"docs/notifications.md: ": "addresses outside; tests/scenarios/test_notifications.py has a receiver",
    r"docs/performance.md: ": "benchmarks, which take minutes; benchmarks/",
    r"docs/profiles.md: docker": "needs a container runtime",
    r"docs/real-cards.md: ": "a host with real cards; tests/scenarios/test_trust.py learns from an emulated one",
    r"docs/provisioning.md: ": "needs the vendor's packages; tests/scenarios/test_provisioning.py",
    r"docs/security.md: ": "needs root and a user of its own; tests/workers",
}
"""Command lines that no test runs from the text, as patterns, and why."""


def why_not(command: Command) -> str | None:
    return next((why for pattern, why in NOT_RUN.items() if re.search(pattern, str(command))), None)


def test_the_pages_show_commands():
    assert len(COMMANDS) >= 100


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_line_is_run_or_is_known_not_to_be(command):
    assert command.page in RUN or why_not(command)


@pytest.mark.parametrize("pattern", NOT_RUN)
def test_no_reason_is_left_over(pattern):
    assert any(re.search(pattern, str(command)) for command in COMMANDS)


@pytest.mark.parametrize("command", [each for each in COMMANDS if "tx81 " in each.text], ids=str)
def test_a_tx81_command_line_can_be_typed(command):
    for words in tx81_calls(command.text):
        function, _, ignored = app.parse_args(words, print_error=False, exit_on_error=False)

        assert callable(function)
        assert not ignored


def tx81_calls(text: str) -> list[list[str]]:
    """The words after `tx81` of each call in a shell line, without redirections and variables that hold options."""
    calls = []
    for part in re.split(r"(?<!\\);(?= )", text.replace(" $token", "")):
        words = shlex.split(re.split(r" [<>] ", part)[0])
        if "tx81" in words:
            calls.append(words[words.index("tx81") + 1 :])
    return calls
