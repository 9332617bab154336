"""Jobs on several card groups of one host, beside jobs on one."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventually import eventually
from lab import Lab

from api.documents.jobs import JobDetail
from api.documents.slots import Occupancy, Presence
from emulator.cards.events import audit
from orchestrator.model.states import AttemptState, JobState, ServiceState

pytestmark = [pytest.mark.xdist_group("host"), pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def host(whole_host: Lab) -> Lab:
    return whole_host


@pytest.fixture(scope="module")
def kcore(host: Lab) -> int:
    """A job that made a kcore."""
    return host.run(host.pipeline())["compile"].id


@pytest.fixture(autouse=True)
def every_card_had_one_owner_at_a_time(host: Lab) -> Iterator[None]:
    yield
    assert audit(Path(host.tree["events"])) == []


def gang(host: Lab, kcore: int, cards: str = "0..3,4..7") -> int:
    return host.infer(kcore, spec={"cards": cards})


def exact(job: JobDetail) -> float:
    return {metric.name: metric.value for metric in job.metrics}["exact_answers"]


def groups_in_the_file(host: Lab, job: JobDetail) -> dict[int, str]:
    """Which group gave each batch, as the tool itself wrote it down."""
    stored = next(output for output in job.outputs if output.name == "answers")
    rows = map(json.loads, b"".join(host.client.content(stored.id)).splitlines())
    return {row["batch"]: f"lab1.g{row['group']}" for row in rows}


def test_two_groups_and_all_eight_answer_rightly_beside_jobs_on_one(host: Lab, kcore: int):
    whole = host.infer(kcore, spec={"groups": 8})
    two = gang(host, kcore, "0..3,8..11")
    singles = [host.infer(kcore) for _ in range(4)]

    done = {job: host.ended(job, within=300) for job in (whole, two, *singles)}

    assert {job.state for job in done.values()} == {JobState.SUCCEEDED}
    assert [exact(done[job]) for job in (whole, two, singles[0])] == [8 * 85, 2 * 85, 85]
    assert done[two].attempts[0].slot_ids == ("lab1.g0", "lab1.g2")
    assert done[whole].attempts[0].slot_ids == tuple(f"lab1.g{index}" for index in range(8))
    for job in (two, whole):
        told = {answer.batch: answer.slot_id for answer in host.client.all_answers(job)}
        assert told == groups_in_the_file(host, done[job])


def test_when_the_worker_of_the_first_group_is_killed_all_groups_come_back_together(host: Lab, kcore: int):
    with host.fault("0", "hang after=5 times=1"):
        job = gang(host, kcore)
        eventually(lambda: host.events("fault"), within=60)
        held = [host.slot(name).job.id for name in ("g0", "g1")]

        host.kill("g0")
        done = host.ended(job, within=300)

    assert held == [job, job]
    assert done.state is JobState.SUCCEEDED
    # A host that is slow enough may lose it once more.
    first, *_, last = (tried.state for tried in done.attempts)
    assert (first, last) == (AttemptState.LOST, AttemptState.SUCCEEDED)
    assert {tried.slot_ids for tried in done.attempts} == {("lab1.g0", "lab1.g1")}
    assert [host.slot(name).occupancy for name in ("g0", "g1")] == [Occupancy.FREE] * 2


def test_when_the_worker_of_another_group_is_killed_the_job_goes_on(host: Lab, kcore: int):
    with host.fault("0", "slow 20"):
        job = gang(host, kcore)
        worker = host.slot("g1").worker
        host.running(job)

        host.kill("g1")
        eventually(lambda: host.slot("g1").worker not in (None, worker), within=60)
        back = host.slot("g1")
    done = host.ended(job, within=300)

    assert (back.presence, back.occupancy, back.job.id) == (Presence.ALIVE, Occupancy.RUNNING, job)
    assert (done.state, len(done.attempts)) == (JobState.SUCCEEDED, 1)
    assert exact(done) == 2 * 85


def test_a_cancelled_gang_gives_all_its_groups_back(host: Lab, kcore: int):
    with host.fault("4", "hang after=5"):
        job = gang(host, kcore)
        host.running(job)
        host.client.cancel(job)
        cancelled = host.ended(job)

    assert cancelled.state is JobState.CANCELLED
    assert [host.slot(name).occupancy for name in ("g0", "g1")] == [Occupancy.FREE] * 2
    assert host.ended(gang(host, kcore), within=300).state is JobState.SUCCEEDED


def test_a_group_that_is_drained_under_a_gang_is_drained_when_the_gang_has_ended(host: Lab, kcore: int):
    with host.fault("0", "slow 5"):
        job = gang(host, kcore)
        host.running(job)
        draining = host.client.drain("lab1.g1")
        done = host.ended(job, within=300)
    drained = [host.slot(name).service_state for name in ("g0", "g1")]
    host.client.resume("lab1.g1")

    assert (draining.service_state, done.state) == (ServiceState.DRAINING, JobState.SUCCEEDED)
    assert draining.drained_when > draining.attempt.started_at
    assert drained == [ServiceState.IN_SERVICE, ServiceState.DRAINED]
