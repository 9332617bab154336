"""What is wrong is named as the person wrote it, and nothing waits for it."""

import os
from pathlib import Path

import pytest

LIMITED = [
    ["artifacts"], ["suites", "runs", "s"], ["notify", "log", "n"], ["results", "metrics"], ["results", "answers"],
    ["doubts"], ["baselines"], ["cases"], ["history", "s", "c", "m"], ["compare", "1", "2"], ["jobs"], ["batches"],
    ["pipelines"], ["answers", "1"],
]  # fmt: skip


@pytest.mark.parametrize("command", LIMITED)
@pytest.mark.parametrize("limit", [-1, 0])
def test_a_limit_below_one_is_wrong_usage(tx81, command, limit):
    ran = tx81(*command, "--limit", limit)

    assert (ran.code, ran.out) == (2, "")
    assert "--limit" in ran.err


@pytest.mark.parametrize(
    ("command", "option"),
    [
        (["compare", "1", "2", "--across", ""], "--across"),
        (["compare", "1", "2", "--effect", "-1"], "--effect"),
        (["jobs", "--user", ""], "--user"),
        (["jobs", "--search", "a\0"], "--search"),
        (["jobs", "--kind", "infr"], "--kind"),
        (["results", "metrics", "--kcore", "x"], "--kcore"),
    ],
)
def test_a_refused_parameter_is_called_like_its_option(tx81, at_site, command, option):
    ran = tx81(*command)

    assert ran.code == 5
    assert ran.err.startswith(f"tx81: {option}: ")


@pytest.mark.parametrize(
    "command",
    [
        ["submit", "PIPE"], ["batches", "submit", "PIPE"], ["suites", "apply", "PIPE"], ["canary", "set", "PIPE"],
        ["stress", "PIPE"], ["jobs", "--token-file", "PIPE"], ["releases", "add", "r", "./PIPE", "/r"],
        ["run", "--model", "m", "--backend-type", "b", "--prompts", "PIPE"],
        ["golden", "import", "PIPE", "--prompts", "server:/q", "--model", "m"],
    ],
)  # fmt: skip
@pytest.mark.parametrize("device", [False, True])
def test_a_pipe_or_a_device_in_place_of_a_file_is_refused_at_once(tx81, at_site, monkeypatch, command, device):
    monkeypatch.delenv("TX81_TOKEN")
    os.mkfifo("PIPE") if not device else Path("PIPE").symlink_to("/dev/zero")

    ran = tx81(*command)

    assert ran.code in (2, 3)
    assert "not a regular file" in ran.err


def test_a_state_that_is_no_folder_is_wrong_usage(tx81, tmp_path):
    (tmp_path / "file").touch()

    for state in (tmp_path / "file", tmp_path / "file" / "below"):
        ran = tx81("up", "--state", state)
        assert (ran.code, "is not a folder" in ran.err) == (2, True)


def test_a_command_that_does_not_exist_is_answered_with_those_that_do(tx81):
    ran = tx81("jbos")

    assert ran.code == 2
    assert ",;" not in ran.err.replace(" ", "")
    assert "jobs" in ran.err


def test_a_time_that_is_none_is_answered_with_examples(tx81, at_site):
    assert "30m, 2h or 1d (ago), 14:00, 2026-03-01" in tx81("jobs", "--since", "yesterday").err


def test_a_target_that_cannot_be_reached_is_answered_with_all_that_can(tx81, at_site):
    assert "https://" in tx81("notify", "add", "n", "ftp://host/").err
