"""Tools fail, processes die, people change their minds."""

import fcntl
from pathlib import Path

import pytest
from eventually import eventually
from lab import Lab

from orchestrator.model.failures import FailureKind
from orchestrator.model.states import AttemptState, JobState

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def kcore(lab: Lab) -> int:
    """A job that made a kcore."""
    return lab.run(lab.pipeline())["compile"].id


def cards_are_free(lab: Lab, *cards: int) -> bool:
    """Whether nobody holds these cards."""
    for card in cards:
        with (Path(lab.tree["cards"]) / f"dev-{card}").open("rb") as device:
            try:
                fcntl.flock(device, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return False
    return True


def test_a_tool_that_fails_is_a_failed_job_with_its_reason_and_its_log(lab: Lab):
    with lab.fault("convert", "error after=1"):
        job = lab.ended(lab.convert())

    assert job.state is JobState.FAILED
    assert job.failure.kind is FailureKind.TOOL
    assert job.failure.exit_code == 1
    assert job.failure.reason
    assert b"layer 1" in b"".join(lab.client.log(job.id))


def test_a_cancelled_conversion_leaves_no_process_and_the_next_one_can_run(lab: Lab):
    with lab.fault("convert", "hang after=1"):
        job = lab.convert()
        lab.running(job)
        lab.client.cancel(job)
        cancelled = lab.ended(job)

    assert cancelled.state is JobState.CANCELLED
    assert eventually(lambda: lab.tools_running() == [])
    assert lab.ended(lab.convert()).state is JobState.SUCCEEDED


def test_a_tool_that_says_nothing_for_too_long_is_stopped(lab: Lab):
    with lab.fault("convert", "hang after=1"):
        job = lab.ended(lab.convert(limits={"silence_seconds": 1}))

    assert job.state is JobState.FAILED
    assert job.failure.kind is FailureKind.SILENCE


def test_a_tool_that_runs_too_long_is_stopped(lab: Lab):
    with lab.fault("convert", "slow 2000"):
        job = lab.ended(lab.convert(limits={"run_seconds": 1}))

    assert job.state is JobState.FAILED
    assert job.failure.kind is FailureKind.RUN_LIMIT


def test_a_killed_worker_leaves_no_process_and_no_held_card_and_its_job_is_done_elsewhere(lab: Lab, kcore: int):
    with lab.fault("0", "hang after=5 times=1"):
        job = lab.infer(kcore, placement={"slot": "g0"})
        lab.running(job)
        eventually(lambda: not cards_are_free(lab, 0))

        lab.kill("g0")

        assert eventually(lambda: cards_are_free(lab, 0, 1, 2, 3))
        done = lab.ended(job)

    assert done.state is JobState.SUCCEEDED
    assert [attempt.state for attempt in done.attempts] == [AttemptState.LOST, AttemptState.SUCCEEDED]
    assert lab.events("violation") == []


def test_a_killed_dispatcher_delays_jobs_and_loses_none(lab: Lab, kcore: int):
    lab.kill("dispatcher")

    job = lab.infer(kcore)

    assert lab.ended(job).state is JobState.SUCCEEDED


def test_a_killed_broker_delays_jobs_and_loses_none(lab: Lab, kcore: int):
    lab.kill("broker")

    jobs = [lab.infer(kcore) for _ in range(4)]

    assert [lab.ended(job).state for job in jobs] == [JobState.SUCCEEDED] * 4


def test_a_corrupt_card_shows_as_wrong_answers_and_not_as_a_failed_job(lab: Lab, kcore: int):
    with lab.fault("4", "corrupt"):
        job = lab.ended(lab.infer(kcore, spec={"cards": "4..7"}))

    assert job.state is JobState.SUCCEEDED
    assert {metric.name: metric.value for metric in job.metrics}["exact_answers"] < 85


def test_a_dead_card_is_a_fault_and_not_a_failed_test(lab: Lab, kcore: int):
    with lab.fault("4", "dead times=3"):
        job = lab.ended(lab.infer(kcore, placement={"slot": "g1"}))

    assert job.state is JobState.FAILED
    assert job.failure.kind is FailureKind.FAULT
    assert job.failure.signature == "hpgr_device_error"
