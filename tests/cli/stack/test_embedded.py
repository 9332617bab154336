import json
import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from cli.commands.up import start_folder
from cli.demo.demo import Seen
from cli.demo.leftovers import left_of, running
from cli.session import Stop
from cli.stack.embedded import MARKER, StackPlan, free_port, more_hosts, settings_env
from cli.stack.supervisor import sole_user_of
from orchestrator.settings import Settings

MARK = uuid.uuid4().hex
"""Not a word that a test in another process could use at the same time."""

SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]


@pytest.fixture
def started():
    """Starts processes that live for a while; ends them afterwards."""
    running: list[subprocess.Popen[bytes]] = []

    def start(**how) -> int:
        running.append(subprocess.Popen(SLEEP, stdout=subprocess.PIPE, **how))
        running[-1].stdout.readline()
        return running[-1].pid

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_a_taken_port_is_passed_over_and_said(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = taken.getsockname()[1]

        found = free_port(wanted)

    assert found > wanted
    assert str(found) in capsys.readouterr().err


def test_a_process_that_carries_the_mark_is_found(tmp_path, started):
    before = running()
    pid = started(env={**os.environ, MARKER: MARK})

    assert [process.pid for process in left_of(MARK, tmp_path, before=before)] == [pid]


def test_a_process_that_works_below_the_state_folder_is_found_without_a_mark(tmp_path, started):
    before = running()
    pid = started(env={}, cwd=tmp_path)

    assert [process.pid for process in left_of(MARK, tmp_path, before=before)] == [pid]


def test_a_shell_that_stood_there_before_does_not_count(tmp_path, started):
    started(cwd=tmp_path)

    assert left_of(MARK, tmp_path, before=running()) == []


def test_a_folder_whose_name_only_begins_alike_is_another_one(tmp_path, started):
    other = tmp_path / "state-2"
    other.mkdir()
    before = running()
    started(cwd=other)

    assert left_of(MARK, tmp_path / "state", before=before) == []


def test_where_things_are_is_told_whatever_the_callers_environment_says(tmp_path, monkeypatch):
    for name in ("DATABASE_URL", "STORE_DIR", "WORK_DIR", "TOKEN_FILE", "API_HOST", "DEVICES_DIR", "LOCK_DIR"):
        monkeypatch.setenv(f"TX81_{name}", "/elsewhere")
    plan = StackPlan(state=tmp_path, api_port=1, flower_port=2)

    env = settings_env(plan, {"home": "/tree", "cards": "/tree/dev/accel"})

    for name, value in env.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert settings.database == f"sqlite:///{tmp_path}/tx81.db"
    assert {settings.store.parent, settings.work.parent, settings.admin_token_file.parent} == {tmp_path}
    assert (settings.devices_dir, settings.locks) == (Path("/tree/dev/accel"), Path("/tree/dev/locks"))


def test_tools_with_a_user_of_their_own_may_work_outside_of_the_state_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("TX81_TOOL_USER", "nobody")
    monkeypatch.setenv("TX81_WORK_DIR", "/elsewhere")
    plan = StackPlan(state=tmp_path, api_port=1, flower_port=2)

    env = settings_env(plan, {"home": "/tree", "cards": "/tree/dev/accel"})

    assert env["TX81_WORK_DIR"] == "/elsewhere"


def test_roots_that_the_caller_allows_stay_allowed(tmp_path, monkeypatch):
    monkeypatch.setenv("TX81_ALLOWED_ROOTS", '["/models"]')

    env = settings_env(
        StackPlan(state=tmp_path, api_port=1, flower_port=2), {"home": "/tree", "cards": "/tree/dev/accel"}
    )

    assert json.loads(env["TX81_ALLOWED_ROOTS"]) == ["/tree", "/models"]


def test_a_second_stack_in_one_folder_is_refused_in_one_line(tx81, tmp_path):
    with sole_user_of(tmp_path / "state"):
        ran = tx81("demo", "--state", tmp_path / "state", "--summary", tmp_path / "summary.json")

    assert ran.code == 4
    assert f"pid {os.getpid()}" in ran.err
    assert json.loads((tmp_path / "summary.json").read_text())["ok"] is False


def test_the_summary_has_exactly_what_a_program_may_rely_on():
    summary = Seen().summary()

    assert set(summary) == {"ok", "seconds", "jobs", "answers", "violations", "leftover_processes"}
    assert summary["ok"] is False


def test_each_host_beyond_the_first_has_cards_tools_locks_and_work_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("TX81_HOST", "lab")
    plan = StackPlan(state=tmp_path, hosts=3, api_port=1, flower_port=2)

    told = more_hosts(plan)

    assert list(told) == ["lab-2", "lab-3"]
    for name, env in told.items():
        below = tmp_path / "hosts" / name
        assert {json.loads(env["TX81_RELEASE_ROOTS"])["emulated"]} == {str(below / "tree")}
        assert all(Path(env[f"TX81_{which}_DIR"]).is_relative_to(below) for which in ("DEVICES", "LOCK", "WORK"))


def test_real_tools_are_those_of_one_host(tmp_path):
    with pytest.raises(Stop, match="--hosts"):
        more_hosts(StackPlan(state=tmp_path, root=tmp_path, hosts=2, api_port=1, flower_port=2))


def test_a_stack_may_read_the_folder_it_is_started_in_unless_that_contains_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "work").mkdir(parents=True)

    found = {}
    for name in (".", "home", "home/work"):
        monkeypatch.chdir(tmp_path / name)
        found[name] = start_folder()

    assert found == {".": None, "home": None, "home/work": tmp_path / "home" / "work"}
