"""The host's locks on card groups, and attempts on several of them."""

import json
import os
import subprocess
import sys
import threading

import pytest
from eventually import eventually
from sqlalchemy import select

from orchestrator.model.slots import SlotName
from orchestrator.model.states import JobState, ServiceState
from orchestrator.storage.tables import Answer, Lease, Slot
from workers.host import cards, locks
from workers.slot import owned

G0, G1 = SlotName.parse("g0"), SlotName.parse("g1")
INFER = {"kind": "infer", "model": "tiny-model", "kcore": {"job": 1, "artifact": "kcore"}, "prompts": {"path": "/p"}}
ANSWERS = """
for batch in 0 1; do
  printf '{"q": "who", "a": "%s", "r": 1, "i": 0, "b": %s}\\n' "$batch" "$batch"
done > "$2/a.jsonl"
"""


@pytest.fixture
def g1(lab):
    with owned(lab.settings, lab.database, G1) as slot:
        yield slot


def a_gang(lab):
    inputs = {"kcore": lab.stored("k", "kcore"), "prompts": lab.stored("p", "who\n")}
    return lab.assigned({**INFER, "groups": 2}, inputs, slot="g0", others=("g1",))


def is_held(lab, group):
    try:
        os.close(locks.take(cards.lock_path(lab.settings.locks, group), owner="a test"))
    except locks.Held:
        return True
    return False


def services(lab):
    with lab.database.read() as session:
        return {slot.name: slot.service_state for slot in session.scalars(select(Slot))}


def test_each_group_of_a_gang_answers_every_prompt_and_it_is_known_which_gave_what(lab, g0, g1):
    lab.tool(f"{ANSWERS}\necho cards $3")
    attempt_id = a_gang(lab)

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    assert lab.attempt(attempt_id).command["argv"][4] == "0..3,4..7"
    with lab.database.read() as session:
        given = session.execute(select(Answer.batch, Answer.text).order_by(Answer.batch)).all()
        assert session.scalars(select(Lease)).all() == []
    assert [tuple(row) for row in given] == [(0, "0"), (1, "1")]


def test_a_gang_whose_second_group_answered_nothing_has_not_succeeded(lab, g0, g1):
    lab.tool("""printf '{"q": "who", "a": "me", "r": 1, "i": 0, "b": 0}\\n' > "$2/a.jsonl" """)
    attempt_id = a_gang(lab)

    lab.run(attempt_id, g0)

    failure = lab.job(attempt_id).failure
    assert (failure["kind"], failure["reason"]) == (
        "output_missing",
        "0 answers instead of 1 (1 prompts × 1 repeats) in batch 1",
    )


def test_the_cards_of_every_group_are_locked_while_the_tool_runs_and_by_the_tool_itself(lab, g0, g1):
    told = lab.folder / "locks.json"
    script = (
        "import json, os, sys; names = [os.readlink(f'/proc/self/fd/{fd}') for fd in os.listdir('/proc/self/fd') "
        "if os.path.exists(f'/proc/self/fd/{fd}')]; json.dump(names, open(sys.argv[1], 'w'))"
    )
    lab.tool(f'{ANSWERS}\n{sys.executable} -c "{script}" {told}')
    attempt_id = a_gang(lab)

    lab.run(attempt_id, g0)

    inherited = {name.rpartition("/")[2] for name in json.loads(told.read_text()) if name.endswith(".lock")}
    assert inherited == {"g0.lock", "g0.cards.lock", "g1.cards.lock"}
    assert not is_held(lab, G0)
    assert not is_held(lab, G1)


def test_nothing_starts_on_cards_that_a_survivor_holds_and_only_their_slot_is_suspect(lab, g0, g1):
    path = cards.lock_path(lab.settings.locks, G1)
    taken = locks.take(path, owner="job 7 on lab.g1 (pid 99)")
    survivor = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[taken])
    os.close(taken)
    lab.tool(f"touch {lab.folder}/started")
    attempt_id = a_gang(lab)

    lab.run(attempt_id, g0)
    survivor.communicate(b"\n")

    failure = lab.attempt(attempt_id).failure
    assert failure["kind"] == "stopped"
    assert "the cards of lab.g1 are still locked by job 7 on lab.g1 (pid 99)" in failure["reason"]
    assert not (lab.folder / "started").exists()
    assert lab.attempt(attempt_id).pid is None
    assert services(lab) == {"g0": ServiceState.IN_SERVICE, "g1": ServiceState.QUARANTINED}
    assert lab.job(attempt_id).state is JobState.QUEUED
    assert not is_held(lab, G0)


def test_a_job_on_one_group_takes_the_lock_of_its_cards_too(lab, g0):
    taken = locks.take(cards.lock_path(lab.settings.locks, G0), owner="job 7 on lab.g4 (pid 99)")
    inputs = {"kcore": lab.stored("k", "kcore"), "prompts": lab.stored("p", "who\n")}
    attempt_id = lab.assigned(INFER, inputs)

    lab.run(attempt_id, g0)
    os.close(taken)

    assert "locked by job 7" in lab.attempt(attempt_id).failure["reason"]
    assert services(lab) == {"g0": ServiceState.QUARANTINED}


def test_a_worker_that_starts_again_does_not_disturb_the_gang_that_runs_on_its_cards(lab, g0):
    lab.tool(f"{ANSWERS}\nwhile [ ! -e {lab.folder}/go ]; do sleep 0.05; done")
    with owned(lab.settings, lab.database, G1):
        attempt_id = a_gang(lab)
    running = lab.run_aside(attempt_id, g0)
    eventually(lambda: lab.attempt(attempt_id).pid)

    with owned(lab.settings, lab.database, G1):
        with lab.database.read() as session:
            leased = set(session.scalars(select(Lease.slot_id)))
        held_meanwhile = is_held(lab, G1)
        (lab.folder / "go").touch()
        running.join(timeout=30)

    assert leased == {"lab.g0", "lab.g1"}
    assert held_meanwhile
    assert lab.job(attempt_id).state is JobState.SUCCEEDED


def test_card_locks_are_taken_in_one_order_and_given_back_when_one_is_refused(tmp_path):
    taken = locks.take(cards.lock_path(tmp_path, G1), owner="job 7")

    with pytest.raises(cards.CardsHeld) as refused, cards.held(tmp_path, "lab", [G1, G0], owner="me", patience=0):
        pass

    assert refused.value.suspicion.slots == ("lab.g1",)
    with cards.held(tmp_path, "lab", [G0], owner="me") as descriptors:
        assert len(descriptors) == 1
    os.close(taken)


def test_cards_of_a_process_that_is_just_ending_are_waited_for(tmp_path):
    taken = locks.take(cards.lock_path(tmp_path, G0), owner="job 7")
    ending = threading.Timer(0.3, os.close, [taken])
    ending.start()

    with cards.held(tmp_path, "lab", [G0], owner="me", patience=30) as descriptors:
        ending.join()

    assert len(descriptors) == 1
