"""A tool on the cards of another slot: that slot and its job are not blamed, and it is said whose tool it is."""

from contextlib import contextmanager
from pathlib import Path

import pytest
from eventually import eventually

from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.storage.tables import Slot
from workers.processes.process import StopReason, StopSignal
from workers.slot import owned

INFER = {"kind": "infer", "model": "tiny-model", "kcore": {"job": 1, "artifact": "kcore"}, "prompts": {"path": "/p"}}
GOOD = 'echo \'{"r": 1, "i": 0, "q": "2+2?", "a": "4"}\' > "$2/answers.jsonl"'
LADDER = [{"signal": "SIGTERM", "grace_seconds": 60}, {"signal": "SIGKILL", "grace_seconds": 5}]


@pytest.fixture
def g1(lab):
    with owned(lab.settings, lab.database, SlotName.parse("g1")) as slot:
        yield slot


@contextmanager
def a_stray_of(lab, slot, *, after="true"):
    """An attempt of `slot` whose tool opens a card of g0 `after` a command, and ends late when it is stopped."""
    stray = (
        f"{after}; exec 3<{lab.settings.devices_dir}/dev-0; touch {lab.folder}/there; "
        f"while [ ! -e {lab.folder}/end ]; do sleep 0.01; done; exit 1"
    )
    lab.says("infer", kill_ladder=LADDER)
    lab.tool(f"trap '' TERM; case $PWD in *lab.g1*) {stray};; *) . {lab.folder}/own.sh;; esac")
    attempt_id = inferring(lab, "g1")
    running = lab.run_aside(attempt_id, slot)
    try:
        yield attempt_id
    finally:
        Path(lab.folder, "end").touch()
        running.join(60)


def inferring(lab, slot):
    inputs = {"kcore": lab.stored("k", "k"), "prompts": lab.stored("p", "2+2?\n")}
    return lab.assigned(INFER, inputs, slot=slot)


def opened(lab, stray):
    """Wait until the tool has the card open, and until what was seen before it started no longer counts as fresh: its
    start is recorded later than that."""
    eventually(Path(lab.folder, "there").exists)
    eventually(lambda: lab.attempt(stray).pid)


def own_tool(lab, script):
    Path(lab.folder, "own.sh").write_text(script)


def service_of(lab, slot):
    with lab.database.read() as session:
        return session.get_one(Slot, slot).service_state


def test_a_start_waits_for_the_stray_tool_of_another_attempt_and_says_whose_it_is(lab, g0, g1):
    own_tool(lab, GOOD)
    with a_stray_of(lab, g1) as stray:
        opened(lab, stray)
        attempt_id = inferring(lab, "g0")
        running = lab.run_aside(attempt_id, g0)
        log = g0.work / f"{lab.job(attempt_id).id}.1" / "log"
        eventually(lambda: log.exists() and "waiting until its cards are free" in log.read_text())
        said = log.read_text()
    running.join(60)

    assert f"a process of job {lab.job(stray).id} on lab.g1" in said
    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    assert lab.job(stray).failure["kind"] == "wrong_cards"
    assert {service_of(lab, slot) for slot in ("lab.g0", "lab.g1")} == {ServiceState.IN_SERVICE}


def test_a_job_that_is_cancelled_while_it_waits_for_a_stray_tool_ends(lab, g0, g1):
    with a_stray_of(lab, g1) as stray:
        opened(lab, stray)
        attempt_id, stop = inferring(lab, "g0"), StopSignal()
        running = lab.run_aside(attempt_id, g0, stop)
        eventually(lambda: lab.attempt(attempt_id).state is AttemptState.RUNNING)
        lab.cancel(attempt_id)
        stop.request(StopReason.CANCELLED)
        running.join(60)

    assert lab.job(attempt_id).state is JobState.CANCELLED


@pytest.mark.parametrize(("end", "state"), [("exit 0", JobState.SUCCEEDED), ("exit 1", JobState.QUEUED)])
def test_a_stray_tool_that_comes_meanwhile_costs_neither_the_slot_nor_the_job(lab, g0, g1, end, state):
    own_tool(lab, f"{GOOD}; touch {lab.folder}/go; while [ ! -e {lab.folder}/there ]; do sleep 0.01; done; {end}")
    with a_stray_of(lab, g1, after=f"while [ ! -e {lab.folder}/go ]; do sleep 0.01; done") as stray:
        attempt_id = inferring(lab, "g0")
        lab.run(attempt_id, g0)

    attempt = lab.attempt(attempt_id)
    assert (lab.job(attempt_id).state, attempt.suspicion) == (state, None)
    assert service_of(lab, "lab.g0") is ServiceState.IN_SERVICE
    if attempt.failure is not None:
        # Given back: it costs the job no attempt.
        assert (attempt.state, attempt.failure["kind"]) == (AttemptState.LOST, "stopped")
        assert f"a process of job {lab.job(stray).id} on lab.g1" in attempt.failure["reason"]


def test_a_worker_that_starts_while_a_stray_tool_has_its_card_open_announces_its_slot_in_service(lab, g1):
    with a_stray_of(lab, g1) as stray:
        opened(lab, stray)
        with owned(lab.settings, lab.database, SlotName.parse("g0")):
            announced = service_of(lab, "lab.g0")

    assert announced is ServiceState.IN_SERVICE
