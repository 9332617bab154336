"""Two hosts with cards, tools and locks of their own; one of them vanishes and comes back."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from eventually import eventually
from lab import Lab, running_lab

from api.documents.slots import Presence
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import AttemptState, JobState

pytestmark = [pytest.mark.xdist_group("two hosts"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def two_hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    folder = tmp_path_factory.mktemp("lab")
    with running_lab(folder, f"sqlite:///{folder}/tx81.db", second_host=True) as lab:
        lab.lab2.start("g0", "cpu0")
        eventually(lambda: alive(lab) == {"lab2.cpu0", "lab2.g0"}, within=60)
        yield lab


@pytest.fixture(scope="module")
def kcore(two_hosts: Lab) -> int:
    """A job that made a kcore."""
    return two_hosts.run(two_hosts.pipeline())["compile"].id


def alive(lab: Lab) -> set[str]:
    return {slot.id for slot in lab.client.slots() if slot.host == "lab2" and slot.presence is Presence.ALIVE}


def told(lab: Lab, until: str) -> list[str]:
    """What the events say of the second host, as far as that one."""
    kinds: list[str] = []
    for event in lab.client.events(after=0):
        if event.kind.startswith("host.") and event.data["host"] == "lab2":
            kinds.append(event.kind)
        if until in kinds:
            break
    return kinds


def test_a_job_on_another_host_runs_the_tools_of_that_host_on_its_cards(two_hosts: Lab, kcore: int):
    job = two_hosts.ended(two_hosts.infer(kcore, placement={"slot": "lab2.g0"}))

    assert job.state is JobState.SUCCEEDED
    assert {metric.name: metric.value for metric in job.metrics}["exact_answers"] == 85
    assert any(word.startswith(two_hosts.lab2.tree["home"]) for word in job.attempts[0].command["argv"])


def test_a_host_that_vanishes_is_seen_its_jobs_go_elsewhere_and_it_is_used_again_when_it_is_back(
    two_hosts: Lab, kcore: int
):
    hang = Path(two_hosts.lab2.tree["faults"]) / "0"
    hang.write_text("hang after=5\n")
    for slot in ("lab1.g0", "lab1.g1"):
        two_hosts.client.drain(slot)
    job = two_hosts.infer(kcore)
    two_hosts.running(job)
    for slot in ("lab1.g0", "lab1.g1"):
        two_hosts.client.resume(slot)

    two_hosts.lab2.vanish()
    hang.unlink()
    done = two_hosts.ended(job)
    away = eventually(lambda: next(h for h in two_hosts.client.hosts() if h.name == "lab2" and h.away_since))
    two_hosts.lab2.start("g0", "cpu0")
    eventually(lambda: alive(two_hosts) == {"lab2.cpu0", "lab2.g0"}, within=60)
    again = two_hosts.ended(two_hosts.infer(kcore, placement={"slot": "lab2.g0"}))

    assert [(tried.slot_id.partition(".")[0], tried.state) for tried in done.attempts] == [
        ("lab2", AttemptState.LOST),
        ("lab1", AttemptState.SUCCEEDED),
    ]
    assert told(two_hosts, until="host.back") == ["host.away", "host.back"]
    assert (away.free, away.presence) == ({}, {Presence.LOST: 2})
    assert again.state is JobState.SUCCEEDED
    assert two_hosts.client.host("lab2").free == {SlotKind.CARD_GROUP: 1, SlotKind.CPU: 1}
    assert two_hosts.events("violation") == []
