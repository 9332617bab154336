import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cyclopts import App

from cli.main import app

COMMANDS = [
    "up",
    "demo",
    "submit",
    "run",
    "jobs",
    "show",
    "logs",
    "wait",
    "cancel",
    "hold",
    "unhold",
    "priority",
    "front",
    "retry",
    "slots",
    "artifacts",
]
COMMANDS += [
    "reserve",
    "reservations",
    "unreserve",
    "models",
    "releases",
    "pipelines",
    "doctor",
    "api",
    "dispatcher",
    "worker",
    "migrate",
]


def one_line(text: str) -> str:
    assert text.count("\n") == 1, text
    assert text.startswith("tx81: ")
    return text


def test_help_names_every_command(tx81):
    ran = tx81("--help")

    assert ran.code == 0
    assert [command for command in COMMANDS if f"  {command}: " not in ran.out] == []


def _commands(app: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name in app:
        if not name.startswith("-"):
            yield (*path, name)
            yield from _commands(app[name], (*path, name))


def test_every_option_of_every_command_has_a_help_line(tx81, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")

    bare = [
        (command, line)
        for command in _commands(app)
        for line in tx81(*command, "--help").out.splitlines()
        if re.fullmatch(r"  -\S[^:]*: *(\[.*)?", line)
    ]

    assert bare == []


def test_the_version_names_the_commit_of_a_checkout(tx81):
    ran = tx81("--version")

    assert re.fullmatch(r"\d+\.\d+\.\d+( \(commit [0-9a-f]{12}(-dirty)?\))?\n", ran.out)


def test_a_completion_script_knows_the_commands(tx81):
    """One of the three shells: the library writes their scripts from the same table of commands."""
    ran = tx81("completion", "zsh")

    assert ran.code == 0
    assert "reservations" in ran.out


def test_the_short_option_of_the_format_is_o(at_site, tx81):
    assert isinstance(tx81("jobs", "-o", "json").document, list)


def test_a_refusal_of_the_server_is_told_from_wrong_usage_and_from_a_wrong_token(at_site, tx81, queued, monkeypatch):
    codes = {
        "usage": tx81("jobs", "--state", "lost").code,
        "not found": tx81("show", 999999).code,
        "conflict": tx81("retry", queued).code,
        "invalid": tx81("models", "add", "m", "relative").code,
        "refused order": tx81("front", 999999).code,
    }
    monkeypatch.setenv("TX81_TOKEN", "tx81_wrong")
    codes["token"] = tx81("jobs").code
    codes["away"] = tx81("jobs", "--server", "http://127.0.0.1:9").code

    assert codes == {
        "usage": 2, "not found": 5, "conflict": 5, "invalid": 5, "refused order": 5, "token": 3, "away": 3
    }  # fmt: skip


@pytest.mark.slow
def test_help_loads_neither_the_client_nor_the_tables():
    program = (
        "import sys; from cli.main import run; run(['--help']); print({'api.client', 'rich.table'} & set(sys.modules))"
    )

    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)

    assert shown.stdout.splitlines()[-1] == "set()"


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(tx81, command):
    ran = tx81(command, "--help")

    assert ran.code == 0
    assert f"Usage: tx81 {command}" in ran.out


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["nonsense"], "nonsense"),
        (["jobs", "--nonsense"], "--nonsense"),
        (["jobs", "--state", "nonsense"], "--state"),
        (["show", "nonsense"], "JOB"),
        (["show"], "JOB"),
        (["show", "1.5"], "1.5"),
        (["cancel", "54.4"], "54.4"),
        (["wait", "0x5"], "0x5"),
        (["jobs", "--pipeline", "1.6"], "--pipeline"),
        (["wait", "1", "--timeout", "-1"], "--timeout"),
        (["wait", "1", "--timeout", "nan"], "--timeout"),
        (["up", "--port", "-1"], "--port"),
        (["wait"], "at least one job"),
        (["cancel"], "at least one job"),
        (["jobs", "--output", "xml"], "--output"),
        (["jobs", "--server", "localhost"], "--server"),
        (["run", "--model", "m"], "--backend-type"),
        (["up", "--port", "0", "--flower-port", "0", "--root", "/nowhere/at/all"], "--root"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_field(tx81, argv, told, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TX81_TOKEN", "t")

    ran = tx81(*argv)

    assert ran.code == 2
    assert ran.out == ""
    assert told in one_line(ran.err.removeprefix("port 8081 is in use; using 8082\n"))


def test_a_server_that_is_away_is_one_line_with_the_remedy(tx81, monkeypatch):
    monkeypatch.setenv("TX81_TOKEN", "t")

    ran = tx81("jobs", "--server", "http://127.0.0.1:9")

    assert ran.code == 3
    assert "tx81 up" in one_line(ran.err)


def test_without_a_token_it_says_where_it_looked(tx81, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TX81_TOKEN", raising=False)

    ran = tx81("jobs")

    assert ran.code == 3
    assert ".tx81/admin-token" in one_line(ran.err)


@pytest.mark.parametrize("token", ["wrong", "two words", "中文", "\x1b[31m"])
def test_a_token_that_is_none_is_refused_without_a_traceback(tx81, at_site, monkeypatch, token):
    monkeypatch.setenv("TX81_TOKEN", token)

    ran = tx81("jobs")

    assert ran.code == 3
    assert "TX81_TOKEN" in one_line(ran.err)


def test_the_token_file_that_is_named_wins_over_the_environment(tx81, at_site, monkeypatch):
    monkeypatch.setenv("TX81_TOKEN", "wrong")

    ran = tx81("jobs", "--token-file", at_site.token_file)

    assert ran.code == 0


def test_the_token_of_a_stack_in_this_folder_is_found(tx81, at_site, monkeypatch):
    monkeypatch.delenv("TX81_TOKEN")
    Path(".tx81").mkdir()
    Path(".tx81/admin-token").write_text(at_site.token + "\n")

    ran = tx81("jobs")

    assert ran.code == 0


def test_the_token_of_a_stack_whose_state_is_elsewhere_is_found(tx81, at_site, monkeypatch, tmp_path):
    monkeypatch.delenv("TX81_TOKEN")
    monkeypatch.setenv("TX81_STATE_DIR", str(tmp_path / "elsewhere"))
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/admin-token").write_text(at_site.token + "\n")

    ran = tx81("jobs")

    assert ran.code == 0


def test_a_setting_that_is_wrong_is_named_as_the_variable_it_came_from(tx81, monkeypatch):
    monkeypatch.setenv("TX81_HOST", "a.b")

    ran = tx81("doctor")

    assert ran.code == 2
    assert "TX81_HOST" in one_line(ran.err)


def test_a_reader_who_leaves_ends_it_quietly(at_site, queued):
    read, write = os.pipe()
    os.close(read)

    shown = subprocess.run(
        [sys.executable, "-m", "cli.main", "jobs"], stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)

    assert (shown.returncode, shown.stderr) == (141, b"")


def test_a_proxy_for_the_world_outside_is_not_asked_for_a_server_on_this_machine(at_site):
    env = {**os.environ, "HTTP_PROXY": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}

    shown = subprocess.run([sys.executable, "-m", "cli.main", "slots"], env=env, check=False)

    assert shown.returncode == 0


def test_a_service_command_becomes_the_module(tmp_path):
    env = {**os.environ, "TX81_STATE_DIR": str(tmp_path / "state")}

    subprocess.run([sys.executable, "-m", "cli.main", "migrate"], env=env, check=True)

    assert (tmp_path / "state" / "tx81.db").exists()


def closed_by_a_shell(redirection: str, *argv: str) -> int:
    """The exit code of a command some of whose standard streams are closed."""
    line = [sys.executable, "-m", "cli.main", *argv]
    return subprocess.run(["sh", "-c", f'"$@" {redirection}', "sh", *line], check=False, timeout=120).returncode


@pytest.mark.parametrize("redirection", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_closed_standard_streams_are_no_failure(at_site, redirection):
    assert closed_by_a_shell(redirection, "slots") == 0


def test_the_end_of_a_job_is_the_exit_code_also_if_nobody_reads_what_is_printed(at_site, queued, tx81):
    assert tx81("cancel", str(queued)).code == 0
    read, write = os.pipe()
    os.close(read)

    waited = subprocess.run(
        [sys.executable, "-m", "cli.main", "wait", str(queued)], stdout=write, stderr=write, check=False
    )
    os.close(write)

    assert waited.returncode == 1
