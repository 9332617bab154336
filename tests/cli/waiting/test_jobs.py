import os
import pty
import signal
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from eventually import eventually

from api.documents.jobs import JobView
from cli.session import Exit
from cli.waiting.jobs import exit_for
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import JobState

FAULT = Failure(kind=FailureKind.FAULT, reason="the card died")
TOOL = Failure(kind=FailureKind.TOOL, reason="exit code 1")


def a_job(state: JobState, failure: Failure | None = None) -> JobView:
    empty = dict.fromkeys(("slot", "pipeline_id", "cached_from", "joined_to", "queued_at", "started_at", "ended_at"))
    return JobView(
        id=1, name="j", kind="infer", state=state, project="default", priority=5, release="r1", failure=failure,
        cancel_requested=False, created_at=datetime.now(UTC), version=1, **empty,
    )  # fmt: skip


SUCCEEDED = a_job(JobState.SUCCEEDED)
FAILED = a_job(JobState.FAILED, TOOL)
FAULTED = a_job(JobState.FAILED, FAULT)
CANCELLED = a_job(JobState.CANCELLED)
SKIPPED = a_job(JobState.SKIPPED)


@pytest.mark.parametrize(
    ("jobs", "code"),
    [
        ([SUCCEEDED, SUCCEEDED], Exit.OK),
        ([SUCCEEDED, FAILED], Exit.JOB_FAILED),
        ([SUCCEEDED, CANCELLED], Exit.JOB_FAILED),
        ([SKIPPED], Exit.JOB_FAILED),
        ([SUCCEEDED, FAULTED], Exit.FAULT),
        ([FAULTED, SKIPPED], Exit.FAULT),
        ([FAULTED, FAILED], Exit.JOB_FAILED),
    ],
)
def test_a_dead_card_is_not_a_failed_job_to_the_shell(jobs, code):
    assert exit_for(jobs) is code


def test_waiting_for_a_cancelled_job_fails_and_prints_nothing_else_in_a_pipe(tx81, queued):
    tx81("cancel", queued)

    ran = tx81("wait", queued, "--output", "json")

    assert (ran.code, ran.err) == (1, "")
    assert [job["state"] for job in ran.document] == ["cancelled"]


def test_a_wait_that_takes_too_long_says_how_to_go_on(tx81, queued):
    ran = tx81("wait", queued, "--timeout", "0.01")

    assert ran.code == 124
    assert f"tx81 wait {queued}" in ran.err


def test_a_wait_of_no_time_looks_once(tx81, queued):
    tx81("cancel", queued)

    assert tx81("wait", queued, "--timeout", "0").code == 1


def test_a_job_that_is_unknown_cannot_be_waited_for(tx81, at_site):
    ran = tx81("wait", 10**9)

    assert ran.code == 5
    assert "1000000000" in ran.err


@pytest.mark.parametrize("command", [["wait"], ["logs", "-f"]])
def test_ctrl_c_on_a_terminal_detaches_and_says_how_to_attach_again(queued, command):
    master, terminal = pty.openpty()
    argv = [sys.executable, "-m", "cli.main", *command, str(queued)]
    watching = subprocess.Popen(argv, stdin=terminal, stdout=terminal, stderr=terminal)
    os.close(terminal)
    eventually(lambda: _speaks_to_the_server(watching.pid))

    watching.send_signal(signal.SIGINT)

    shown = _all_of(master)
    assert watching.wait() == 130
    assert f"tx81 {' '.join(command)} {queued}" in shown.decode()
    assert "Traceback" not in shown.decode()


def test_cancelling_twice_is_cancelling_once(tx81, queued):
    tx81("cancel", queued)

    ran = tx81("cancel", queued, "--output", "json")

    assert ran.code == 0
    assert [job["state"] for job in ran.document] == ["cancelled"]


def test_a_retry_is_a_new_job(tx81, queued):
    tx81("cancel", queued)

    ran = tx81("retry", queued, "--output", "json")

    assert ran.code == 0
    assert ran.document["id"] > queued


def _speaks_to_the_server(pid: int) -> bool:
    """Past its start, inside the command."""
    sockets = 0
    for handle in os.listdir(f"/proc/{pid}/fd"):
        try:
            sockets += os.readlink(f"/proc/{pid}/fd/{handle}").startswith("socket:")
        except FileNotFoundError:
            continue
    return sockets > 0


def _all_of(master: int) -> bytes:
    shown = b""
    while True:
        try:
            shown += os.read(master, 65536)
        except OSError:  # the other end is closed
            os.close(master)
            return shown
