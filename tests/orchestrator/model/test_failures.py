"""What follows from a failure."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.failures import Failure, FailureKind, GiveUp, Retry, device_kills, next_step, pause_after

COUNTS = st.integers(min_value=0, max_value=20)


def _step(kind: FailureKind, **counts: int) -> Retry | GiveUp:
    facts = {"faults": 0, "tool_failures": 0, "max_attempts": 3, "tool_retries": 0, **counts}
    return next_step(Failure(kind=kind, reason="so"), **facts)


@pytest.mark.parametrize(("faults", "again"), [(1, True), (2, True), (3, False), (4, False)])
def test_a_fault_is_retried_until_there_were_as_many_as_may_be(faults: int, again: bool):
    assert isinstance(_step(FailureKind.FAULT, faults=faults), Retry) is again


@pytest.mark.parametrize(("failures", "retries", "again"), [(1, 0, False), (1, 1, True), (2, 1, False), (3, 3, True)])
def test_a_tool_is_retried_only_as_often_as_was_asked(failures: int, retries: int, again: bool):
    step = _step(FailureKind.TOOL, tool_failures=failures, tool_retries=retries)

    assert isinstance(step, Retry) is again


@given(st.sampled_from(sorted(set(FailureKind) - {FailureKind.FAULT, FailureKind.TOOL})), COUNTS, COUNTS)
def test_nothing_else_is_ever_retried(kind: FailureKind, faults: int, retries: int):
    assert _step(kind, faults=faults, tool_retries=retries) == GiveUp("so")


@given(st.sampled_from(FailureKind), COUNTS, COUNTS, COUNTS, COUNTS)
def test_every_step_says_why(kind: FailureKind, faults: int, failures: int, attempts: int, retries: int):
    step = _step(kind, faults=faults, tool_failures=failures, max_attempts=attempts, tool_retries=retries)

    assert "so" in step.why


def test_a_job_is_blamed_for_the_second_slot_and_not_for_the_first():
    last = Failure(kind=FailureKind.FAULT, reason="HPGR: device error", exit_code=1, signature="hpgr")

    blamed = device_kills(last, {"lab1.g1", "lab1.g0"})

    assert device_kills(last, {"lab1.g0"}) is None
    assert (blamed.kind, blamed.signature, blamed.exit_code) == (FailureKind.DEVICE_KILLS, "hpgr", 1)
    assert blamed.reason.startswith("lab1.g0 and lab1.g1")
    assert "HPGR: device error" in blamed.reason


@pytest.mark.parametrize(("faults", "seconds"), [(0, 0), (1, 30), (2, 60), (3, 120), (1000, 86_400)])
def test_the_pause_after_a_fault_doubles_up_to_a_day(faults, seconds):
    assert pause_after(timedelta(seconds=30), faults) == timedelta(seconds=seconds)


def test_no_pause_stays_none():
    assert pause_after(timedelta(0), 3) == timedelta(0)
