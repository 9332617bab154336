from dataclasses import replace
from datetime import UTC, datetime

import pytest
import yaml
from pydantic import ValidationError

from orchestrator.model.failures import FailureKind
from orchestrator.model.profile import FaultSignature
from orchestrator.settings import SHIPPED_PROFILES
from workers.attempt.judge import Clocks, Evidence, failure_of_results, failure_of_run, suspicion
from workers.processes.process import Outcome, StopReason

SIGNATURES = (
    FaultSignature(name="busy", pattern="Device or resource busy"),
    FaultSignature(name="hpgr", pattern="HPGR: device error", sticky=True),
    FaultSignature(name="alarm", source="kernel", pattern=r"dev-(?P<card>\d+): fatal_err", sticky=True),
    FaultSignature(name="lost_link", exit_codes=(71, 72)),
)
CLOCKS = Clocks(run_seconds=7200, silence_seconds=600, log_bytes=1024)


def outcome(exit_code=None, signal=None, stopped=None, launch_error=None, unkillable=()):
    return Outcome(
        exit_code=exit_code, signal=signal, stopped=stopped, started_at=datetime.now(UTC), seconds=1.0, pid=7,
        strays=0, unkillable=unkillable, launch_error=launch_error,
    )  # fmt: skip


def judged(ended, log="", *vendor_logs):
    return failure_of_run(ended, Evidence(log, vendor_logs), SIGNATURES, CLOCKS)


def test_exit_0_is_no_failure_even_if_the_device_complained():
    assert judged(outcome(0), "HPGR: device error\n") is None


@pytest.mark.parametrize(
    ("stopped", "kind", "reason"),
    [
        (StopReason.CANCELLED, FailureKind.CANCELLED, "cancelled on request"),
        (StopReason.RUN_LIMIT, FailureKind.RUN_LIMIT, "it ran longer than its run limit of 7200 s"),
        (StopReason.SILENCE, FailureKind.SILENCE, "it printed nothing for 600 s"),
        (StopReason.LOG_LIMIT, FailureKind.LOG_LIMIT, "it printed more than the log limit of 1024 bytes"),
    ],
)
def test_a_tool_that_was_stopped_failed_for_the_reason_it_was_stopped(stopped, kind, reason):
    failure = judged(outcome(exit_code=130, stopped=stopped), "Traceback\n")

    assert (failure.kind, failure.reason, failure.exit_code) == (kind, reason, 130)


@pytest.mark.parametrize("stopped", [None, StopReason.SILENCE, StopReason.RUN_LIMIT])
def test_a_tool_that_hangs_or_dies_after_a_device_error_met_a_fault(stopped):
    failure = judged(outcome(signal=15, stopped=stopped), "ok\n[12:00] HPGR: device error 3\nbye\n")

    assert failure.kind is FailureKind.FAULT
    assert failure.signature == "hpgr"
    assert failure.reason == "[12:00] HPGR: device error 3"


def test_a_full_disk_is_no_failure_of_the_tool():
    shipped = yaml.safe_load((SHIPPED_PROFILES / "txnn_1.2.1_build0307.yaml").read_text())["fault_signatures"]
    known = [FaultSignature.model_validate(signature) for signature in shipped]

    failure = failure_of_run(outcome(1), Evidence("error: [Errno 28] No space left on device\n"), known, CLOCKS)

    assert (failure.kind, failure.signature) == (FailureKind.FAULT, "disk_full")


def of_a_server(ended, log="", *, was_ready=True):
    return failure_of_run(ended, Evidence(log, was_ready=was_ready), SIGNATURES, CLOCKS)


@pytest.mark.parametrize("ended", [outcome(0), outcome(130), outcome(signal=9)], ids=["0", "130", "SIGKILL"])
def test_a_server_that_was_stopped_has_not_failed_however_it_ended(ended):
    assert of_a_server(replace(ended, stopped=StopReason.STOPPED), "HPGR: device error\n") is None


def test_a_server_that_was_stopped_before_it_was_ready_is_cancelled():
    failure = of_a_server(outcome(0, stopped=StopReason.STOPPED), was_ready=False)

    assert failure.kind is FailureKind.CANCELLED


@pytest.mark.parametrize("was_ready", [True, False])
def test_a_server_that_ends_by_itself_has_failed_even_with_exit_0(was_ready):
    failure = of_a_server(outcome(0), "shutdown complete\n", was_ready=was_ready)

    assert failure.kind is FailureKind.TOOL
    assert failure.reason == "the server ended by itself: shutdown complete (exit code 0)"


@pytest.mark.parametrize("ended", [outcome(0), outcome(1), outcome(15, stopped=StopReason.NOT_READY)])
def test_a_server_that_a_device_error_ended_met_a_fault(ended):
    assert of_a_server(ended, "HPGR: device error 3\n").kind is FailureKind.FAULT


def test_a_server_that_was_not_ready_in_time_is_told_by_the_last_thing_it_said():
    failure = of_a_server(outcome(15, stopped=StopReason.NOT_READY), "loading\n", was_ready=False)

    assert failure.reason == "it was not ready in time; its last line: loading"


@pytest.mark.parametrize(("code", "suspect"), [(0, True), (130, False), (None, False)])
def test_a_sticky_signature_speaks_against_the_slot_of_a_stopped_server_only_if_it_ended_regularly(code, suspect):
    ended = outcome(code, stopped=StopReason.STOPPED)

    found = suspicion(None, ended, Evidence("HPGR: device error\n", was_ready=True), SIGNATURES)

    assert (found is not None) == suspect


def test_a_cancelled_job_stays_cancelled_whatever_its_log_says():
    assert judged(outcome(stopped=StopReason.CANCELLED), "HPGR: device error\n").kind is FailureKind.CANCELLED


def test_a_device_error_in_the_tools_own_log_file_counts_too():
    assert judged(outcome(1), "failed\n", "fine\n", "HPGR: device error\n").signature == "hpgr"


def test_a_missing_executable_is_the_infrastructures_fault():
    failure = judged(outcome(launch_error="cannot execute 'python': No such file"))

    assert (failure.kind, failure.reason) == (FailureKind.FAULT, "cannot execute 'python': No such file")


@pytest.mark.parametrize(
    ("ended", "log", "reason"),
    [
        (outcome(3), "a\n\x1b[31mKeyError: 'lm_head'\x1b[0m\n  \n\n", "KeyError: 'lm_head' (exit code 3)"),
        (outcome(signal=9), "", "killed by SIGKILL, and it printed nothing"),
        (outcome(signal=40), "x", "killed by signal 40 after: x"),
        (outcome(1), "进度\r出错了\n", "出错了 (exit code 1)"),
    ],
)
def test_the_tools_own_failure_is_told_by_the_last_thing_it_said(ended, log, reason):
    failure = judged(ended, log)

    assert (failure.kind, failure.reason) == (FailureKind.TOOL, reason)


def test_missing_outputs_are_named():
    failure = failure_of_results(["no kcore", "no log"], outcome(0), Evidence("all good\n"), SIGNATURES)

    assert (failure.kind, failure.reason) == (FailureKind.OUTPUT_MISSING, "no kcore; no log")


def test_outputs_that_a_device_error_explains_are_not_the_jobs_fault():
    failure = failure_of_results(["no answers"], outcome(0), Evidence("HPGR: device error\n"), SIGNATURES)

    assert failure.kind is FailureKind.FAULT


def test_nothing_missing_is_no_failure():
    assert failure_of_results([], outcome(0), Evidence(""), SIGNATURES) is None


def suspected(ended, log):
    evidence = Evidence(log)
    return suspicion(failure_of_run(ended, evidence, SIGNATURES, CLOCKS), ended, evidence, SIGNATURES)


@pytest.mark.parametrize("code", [0, 1])
def test_a_sticky_signature_speaks_against_the_slot_whether_the_tool_failed_or_not(code):
    suspect = suspected(outcome(code), "Device or resource busy\nE HPGR: device error 7\n")

    assert (suspect.signature, suspect.reason) == ("hpgr", "E HPGR: device error 7")


@pytest.mark.parametrize(
    ("ended", "log"),
    [
        (outcome(0), "all good\n"),
        (outcome(1), "KeyError\n"),
        (outcome(1), "Device or resource busy\n"),
        (outcome(0), "Device or resource busy\n"),
        (outcome(stopped=StopReason.CANCELLED), "HPGR: device error\n"),
        (outcome(stopped=StopReason.SILENCE), "loading\n"),
        (outcome(launch_error="no such file"), ""),
    ],
)
def test_nothing_else_in_a_log_speaks_against_the_slot(ended, log):
    assert suspected(ended, log) is None


@pytest.mark.parametrize(
    "ended", [outcome(0, unkillable=(7, 8)), outcome(stopped=StopReason.CANCELLED, unkillable=(7, 8))]
)
def test_a_process_that_nothing_can_kill_speaks_against_the_slot_however_the_tool_ended(ended):
    assert "7, 8" in suspected(ended, "").reason


def test_what_the_kernel_says_of_its_own_cards_is_a_fault_and_speaks_against_the_slot():
    evidence = Evidence("KeyError\n", kernel=("[1.0] accel dev-6: fatal_err 3",), cards=frozenset({4, 5, 6, 7}))

    failure = failure_of_run(outcome(1), evidence, SIGNATURES, CLOCKS)

    assert (failure.kind, failure.signature) == (FailureKind.FAULT, "alarm")
    assert suspicion(failure, outcome(1), evidence, SIGNATURES).reason == "[1.0] accel dev-6: fatal_err 3"
    assert suspicion(None, outcome(0), evidence, SIGNATURES).signature == "alarm"


@pytest.mark.parametrize("line", ["accel dev-16: fatal_err", "accel dev-3: fatal_err", "eth0: link up"])
def test_what_the_kernel_says_of_the_cards_of_others_is_none_of_its_business(line):
    evidence = Evidence("KeyError\n", kernel=(line,), cards=frozenset({4, 5, 6, 7}))

    failure = failure_of_run(outcome(1), evidence, SIGNATURES, CLOCKS)

    assert failure.kind is FailureKind.TOOL
    assert suspicion(None, outcome(0), evidence, SIGNATURES) is None


def test_a_line_that_only_the_kernel_may_say_proves_nothing_in_the_log():
    evidence = Evidence("accel dev-6: fatal_err\n", cards=frozenset({6}))

    assert failure_of_run(outcome(1), evidence, SIGNATURES, CLOCKS).kind is FailureKind.TOOL


@pytest.mark.parametrize(("code", "kind"), [(71, FailureKind.FAULT), (72, FailureKind.FAULT), (73, FailureKind.TOOL)])
def test_an_exit_code_may_mean_a_fault(code, kind):
    failure = failure_of_run(outcome(code), Evidence("bye\n", exit_code=code), SIGNATURES, CLOCKS)

    assert failure.kind is kind


@pytest.mark.parametrize(
    "signature",
    [
        {"name": "nothing"},
        {"name": "both", "pattern": "x", "exit_codes": [1]},
        {"name": "success", "exit_codes": [0]},
        {"name": "any_card", "source": "kernel", "pattern": "fatal_err"},
        {"name": "kernel_code", "source": "kernel", "exit_codes": [7]},
    ],
)
def test_a_signature_that_can_not_be_told_from_the_job_is_refused(signature):
    with pytest.raises(ValidationError, match=signature["name"] if signature["name"] != "success" else "exit_codes"):
        FaultSignature.model_validate(signature)
