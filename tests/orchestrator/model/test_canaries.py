from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.model.canaries import CanaryRun, LeaveQuarantined, Restore, Start, Wait, decide
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import JobState

SINCE = datetime(2026, 3, 1, 12, tzinfo=UTC)
PAUSES = [timedelta(seconds=10), timedelta(seconds=60)]


def decided(*runs, after=0.0):
    return decide(
        runs, quarantined_at=SINCE, now=SINCE + timedelta(seconds=after), pauses=PAUSES, most_failures=3
    )  # fmt: skip


def failed(job, at=0.0, kind=FailureKind.WRONG_ANSWERS):
    return CanaryRun(job, JobState.FAILED, kind, SINCE + timedelta(seconds=at))


def test_the_first_canary_waits_for_the_first_pause_and_each_later_one_longer():
    assert decided(after=9) == Wait(SINCE + timedelta(seconds=10))
    assert decided(after=10) == Start()
    assert decided(failed(1, at=20), after=79) == Wait(SINCE + timedelta(seconds=80))
    assert decided(failed(1, at=20), failed(2, at=100), after=160) == Start()


def test_no_second_canary_is_started_while_one_is_under_way():
    assert decided(failed(1), CanaryRun(2, JobState.RUNNING, None, None), after=1000) == Wait(None)


def test_the_last_canary_decides_if_it_passed():
    passed = CanaryRun(2, JobState.SUCCEEDED, None, SINCE)

    assert decided(failed(1), passed) == Restore(2)


def test_so_many_failures_leave_the_slot_to_people():
    assert decided(failed(1), failed(2), failed(3)) == LeaveQuarantined((1, 2, 3))


def test_canaries_on_other_cards_leave_the_slot_to_people_as_unproven_and_not_as_failed():
    strayed = [failed(job, kind=FailureKind.WRONG_CARDS) for job in (1, 2, 3)]

    assert decided(*strayed) == LeaveQuarantined((1, 2, 3), strayed=True)
    assert decided(failed(4), *strayed[:2], after=1000) == Start()


@pytest.mark.parametrize("kind", [FailureKind.CANCELLED, FailureKind.QUEUE_DEADLINE, FailureKind.BAD_SPEC])
def test_a_canary_that_says_nothing_of_the_cards_counts_for_nothing(kind):
    assert decided(failed(1, kind=kind), failed(2, kind=kind), failed(3, kind=kind), after=1000) == Start()
