"""One doorbell, several attempts: each follows from the end of the one before it, and stops reach the one that runs."""

import pytest
from sqlalchemy import select

from orchestrator.jobs import line
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Attempt, Job
from workers.attempt.execution import execute, execute_taken
from workers.chain import Chain
from workers.processes.process import StopReason, StopSignal
from workers.processes.stops import STOPS

QUANTIZE = {"kind": "quantize", "model": "tiny-model"}


@pytest.fixture
def chain():
    """The doorbell was for attempt 901, and attempt 902 follows it."""
    begun = Chain()
    begun.begin(901)
    begun.follow(902, "7.1")
    yield begun
    for attempt_id in (901, 902, 903):
        STOPS.forget(attempt_id)


def test_a_worker_that_stops_stops_the_attempt_that_runs_and_those_that_would_follow(chain):
    chain.stop(901, StopReason.SHUTDOWN, None)
    chain.follow(903, "8.1")

    assert [STOPS.of(attempt_id).reason for attempt_id in (902, 903)] == [StopReason.SHUTDOWN, StopReason.SHUTDOWN]


def test_a_late_revoke_of_the_first_attempt_leaves_the_one_that_runs_alone(chain):
    chain.stop(901, StopReason.CANCELLED, "flower alice")

    assert STOPS.of(902).reason is None


def test_a_revoke_of_an_attempt_that_followed_cancels_it(chain):
    chain.revoke("8.1", "flower alice")
    assert STOPS.of(902).reason is None

    chain.revoke("7.1", "flower alice")
    assert (STOPS.of(902).reason, STOPS.of(902).by) == (StopReason.CANCELLED, "flower alice")


@pytest.mark.parametrize("goes_on", [True, False])
def test_the_end_of_an_attempt_hands_over_the_next_unless_the_worker_stops(lab, cpu0, goes_on):
    lab.tool('touch "$2/weights.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    second = lab.queued(QUANTIZE, slot="cpu0")
    with lab.database.write() as session:
        line.store(session, line.NextJobs([line.InLine(second, "cpu")]), now=lab.database.now(session))

    ended = execute(attempt_id, cpu0, lab.store, StopSignal(), takes_next=lambda: goes_on)

    assert (ended.following is not None) == goes_on
    if goes_on:
        assert ended.following.assignment.job_id == second
        execute_taken(ended.following, cpu0, lab.store, StopSignal(), takes_next=lambda: False)
    with lab.database.read() as session:
        assert session.get_one(Job, second).state is (JobState.SUCCEEDED if goes_on else JobState.QUEUED)
        assert len(session.scalars(select(Attempt).where(Attempt.job_id == second)).all()) == int(goes_on)
    assert list(cpu0.work.iterdir()) == []
