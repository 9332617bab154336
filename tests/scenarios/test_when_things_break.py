"""Tools fail, processes die, people change their minds."""

import fcntl
from pathlib import Path

import pytest
from eventually import eventually
from lab import Lab

from orchestrator.model.failures import FailureKind
from orchestrator.model.states import AttemptState, JobState, ServiceState

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(300)]


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


def test_a_corrupt_card_fails_a_job_with_wrong_answers_which_are_kept(lab: Lab, kcore: int):
    with lab.fault("4", "corrupt"):
        job = lab.ended(lab.infer(kcore, spec={"cards": "4..7"}))

    assert (job.state, job.failure.kind) == (JobState.FAILED, FailureKind.WRONG_ANSWERS)
    assert len(job.attempts) == 1
    assert {metric.name: metric.value for metric in job.metrics}["exact_answers"] < 85
    assert job.answers == 85


def test_a_dead_card_is_no_failed_test_its_group_is_quarantined_and_comes_back_when_it_is_resumed(lab: Lab, kcore: int):
    lab.client.drain("lab1.g0", "so that the job meets the dead card first")
    with lab.fault("4", "dead"):
        job = lab.infer(kcore)
        eventually(lambda: lab.slot("g1").service_state is ServiceState.QUARANTINED, within=60)
        pinned = lab.infer(kcore, placement={"slot": "g1"})
        lab.client.resume("lab1.g0")
        done = lab.ended(job)
    because = lab.client.slot("lab1.g1").quarantined_because
    waits = lab.client.job(pinned)
    lab.client.resume("lab1.g1", "card reseated")
    back = lab.ended(pinned)

    assert done.state is JobState.SUCCEEDED
    assert [(tried.slot_id, tried.state) for tried in done.attempts] == [
        ("lab1.g1", AttemptState.FAILED),
        ("lab1.g0", AttemptState.SUCCEEDED),
    ]
    assert done.attempts[0].failure.kind is FailureKind.FAULT
    assert (because.job_id, because.attempt_id) == (job, done.attempts[0].id)
    assert because.signature == "hpgr_device_error"
    assert (waits.state, waits.attempts) == (JobState.QUEUED, ())
    assert (back.state, back.attempts[0].slot_id) == (JobState.SUCCEEDED, "lab1.g1")
    assert lab.events("violation") == []


def test_a_job_that_meets_a_dead_card_on_two_groups_fails_for_good(lab: Lab, kcore: int):
    with lab.fault("0", "dead"), lab.fault("4", "dead"):
        job = lab.ended(lab.infer(kcore))
    quarantined = [lab.slot(name).service_state for name in ("g0", "g1")]
    for name in ("lab1.g0", "lab1.g1"):
        lab.client.resume(name)

    assert job.failure.kind is FailureKind.DEVICE_KILLS
    assert quarantined == [ServiceState.QUARANTINED] * 2
    assert lab.ended(lab.infer(kcore)).state is JobState.SUCCEEDED


def test_a_group_is_drained_when_what_it_runs_has_ended_and_a_held_job_starts_when_it_is_released(lab: Lab, kcore: int):
    with lab.fault("0", "slow 2"):
        busy = lab.infer(kcore, placement={"slot": "g0"})
        lab.running(busy)
        draining = lab.client.drain("lab1.g0")
        held = lab.client.hold(lab.infer(kcore, placement={"slot": "lab1.g0"})).id
        eventually(lambda: lab.slot("g0").service_state is ServiceState.DRAINED, within=60)
    lab.client.resume("lab1.g0")
    other = lab.ended(lab.infer(kcore, placement={"slot": "lab1.g0"}))
    waits = lab.client.job(held)
    lab.client.unhold(held)

    assert draining.service_state is ServiceState.DRAINING
    assert draining.drained_when > draining.attempt.started_at
    assert lab.ended(busy).state is JobState.SUCCEEDED
    assert other.state is JobState.SUCCEEDED
    assert (waits.state, waits.held) == (JobState.QUEUED, True)
    assert lab.ended(held).state is JobState.SUCCEEDED
