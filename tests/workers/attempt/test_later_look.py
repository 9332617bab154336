"""A short run that ends normally is not held up by a look at its cards: one that follows finds what is there, and tells
every attempt since the look before."""

import math
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from eventually import eventually

from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.profile import ProbeRule
from orchestrator.model.slots import SlotName
from orchestrator.model.states import JobState, ServiceState
from orchestrator.slots import service
from orchestrator.storage.tables import Slot
from workers.attempt import later_look
from workers.host.open_files import SharedLooks
from workers.host.probe import Probe
from workers.host.unproven import UnprovenEnds
from workers.processes.process import Outcome, StopReason
from workers.slot import owned

G0 = SlotName.parse("g0")
INFER = {"kind": "infer", "model": "tiny-model", "kcore": {"job": 1, "artifact": "kcore"}, "prompts": {"path": "/p"}}
GOOD = 'echo \'{"r": 1, "i": 0, "q": "2+2?", "a": "4"}\' > "$2/answers.jsonl"'
NORMAL = Outcome(0, None, None, datetime.now(UTC), 0.2, 7, 0, (), None)


@contextmanager
def a_foreigner_on(lab, card):
    node = lab.settings.devices_dir / f"dev-{card}"
    opener = "import sys; held = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    argv = [sys.executable, "-S", "-c", opener, str(node)]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        yield process
    finally:
        process.communicate()


def inferring(lab):
    return lab.assigned(INFER, {"kcore": lab.stored("k", "k"), "prompts": lab.stored("p", "2+2?\n")})


def service_of(lab):
    with lab.database.read() as session:
        return session.get_one(Slot, "lab.g0").service_state


def probe_of(lab):
    return Probe(ProbeRule(), devices=lab.settings.devices_dir, root="", shared=SharedLooks(lab.settings.locks))


@pytest.fixture
def unfollowed(g0):
    """The slot, whose ends nobody proves but the test."""
    g0.unproven.add(0, None, gone_at=time.monotonic())
    g0.unproven.suspect(Suspicion(reason=""), [0], at=0.0)
    return g0


def test_all_attempts_since_the_last_look_are_told_of_a_stranger_and_earlier_ones_are_not(lab, unfollowed):
    lab.tool(GOOD)
    attempts = []
    for number in range(3):
        attempts.append(inferring(lab))
        lab.run(attempts[-1], unfollowed)
        if number == 0:
            later_look.settle(unfollowed)
            # The following starts rely on it, however slow this machine is.
            unfollowed.seen_free[G0.cards] = math.inf

    with a_foreigner_on(lab, 2):
        later_look.settle(unfollowed)

    assert [bool(lab.attempt(one).suspicion) for one in attempts] == [False, True, True]
    assert all(lab.job(one).state is JobState.SUCCEEDED for one in attempts)
    assert service_of(lab) is ServiceState.QUARANTINED
    assert unfollowed.unproven.attempts() == []


def test_an_end_is_proven_by_itself_soon_after(lab, g0):
    lab.tool(GOOD)
    attempt_id = inferring(lab)

    lab.run(attempt_id, g0)
    eventually(lambda: g0.unproven.attempts() == [])

    assert (service_of(lab), lab.attempt(attempt_id).suspicion) == (ServiceState.IN_SERVICE, None)


def test_the_next_tool_of_the_slot_that_has_the_cards_open_is_no_stranger(lab, unfollowed):
    lab.tool(GOOD)
    lab.run(inferring(lab), unfollowed)
    lab.tool(f"exec 3<{lab.settings.devices_dir}/dev-1; touch {lab.folder}/up; "
             f"while [ ! -e {lab.folder}/end ]; do sleep 0.01; done; {GOOD}")  # fmt: skip
    following = inferring(lab)
    running = lab.run_aside(following, unfollowed)
    eventually((lab.folder / "up").exists)
    # The look before its start has proven the first one.
    unfollowed.unproven.add(following, probe_of(lab), gone_at=time.monotonic())

    later_look.settle(unfollowed)
    (lab.folder / "end").touch()
    running.join(60)

    assert (service_of(lab), lab.attempt(following).suspicion) == (ServiceState.IN_SERVICE, None)


def test_a_start_that_finds_a_stranger_tells_those_that_ended_before_it(lab, unfollowed):
    lab.tool(GOOD)
    ended = inferring(lab)
    lab.run(ended, unfollowed)
    unfollowed.seen_free.clear()

    with a_foreigner_on(lab, 2):
        shared = SharedLooks(lab.settings.locks)
        shared.tell(replace(shared.newest(since=0.0), began=0.0))
        refused = inferring(lab)
        lab.run(refused, unfollowed)

    assert lab.job(refused).state is JobState.QUEUED
    assert lab.attempt(ended).suspicion is not None
    assert service_of(lab) is ServiceState.QUARANTINED


def test_a_run_during_which_a_stranger_was_found_is_told_too(lab, unfollowed):
    lab.tool(f"touch {lab.folder}/up; while [ ! -e {lab.folder}/end ]; do sleep 0.01; done; {GOOD}")
    attempt_id = inferring(lab)
    running = lab.run_aside(attempt_id, unfollowed)
    eventually((lab.folder / "up").exists)
    unfollowed.unproven.add(attempt_id, probe_of(lab), gone_at=time.monotonic())
    with a_foreigner_on(lab, 0):
        later_look.settle(unfollowed)
    (lab.folder / "end").touch()
    running.join(60)

    assert "card 0 is open in" in lab.attempt(attempt_id).suspicion["reason"]
    assert lab.job(attempt_id).state is JobState.SUCCEEDED


def test_a_person_who_has_drained_the_slot_meanwhile_is_not_overruled(lab, unfollowed):
    lab.tool(GOOD)
    attempt_id = inferring(lab)
    lab.run(attempt_id, unfollowed)
    with lab.database.admission() as (session, now):
        service.drain(session, unfollowed.id, by="alice", note=None, now=now)

    with a_foreigner_on(lab, 2):
        later_look.settle(unfollowed)

    assert service_of(lab) is ServiceState.DRAINED
    assert lab.attempt(attempt_id).suspicion is not None


def test_a_worker_that_gives_its_slot_back_has_proven_its_cards(lab):
    lab.tool(GOOD)
    with owned(lab.settings, lab.database, G0) as slot:
        lab.run(inferring(lab), slot)

    assert slot.unproven.attempts() == []


@pytest.mark.parametrize(
    ("outcome", "failure"),
    [
        (None, None),
        (NORMAL, Failure(kind=FailureKind.TOOL, reason="")),
        (replace(NORMAL, exit_code=None, signal=9), None),
        (replace(NORMAL, stopped=StopReason.STOPPED), None),
        (replace(NORMAL, strays=1), None),
        (replace(NORMAL, unkillable=(3,)), None),
        (replace(NORMAL, seconds=1.5), None),
    ],
    ids=["shim lost", "failed", "killed", "stopped", "strays", "unkillable", "long"],
)
def test_any_other_end_has_a_look_of_its_own(outcome, failure):
    assert later_look.ended_normally(NORMAL, None, None)
    assert not later_look.ended_normally(outcome, failure, None)


def test_canaries_containers_gangs_and_cards_with_a_check_of_the_vendor_have_looks_of_their_own():
    rule = ProbeRule()
    checked = ProbeRule.model_validate({"check": {"argv": ["smi"], "environment": {}, "free": "free", "seconds": 1}})
    own = later_look.needs_own_look

    assert not own("infer", rule, below_shim=True, groups=1)
    assert own("canary", rule, below_shim=True, groups=1)
    assert own("infer", rule, below_shim=False, groups=1)
    assert own("infer", rule, below_shim=True, groups=2)
    assert own("infer", checked, below_shim=True, groups=1)


def test_a_look_proves_only_the_ends_before_it_and_only_what_it_looked_for(lab):
    ends, probe = UnprovenEnds(), probe_of(lab)
    other = Probe(ProbeRule(nodes=("{devices}/other-{card}",)), devices=lab.settings.devices_dir, root="")
    for number, (gone_at, how) in enumerate([(1.0, probe), (1.5, other), (2.0, probe)]):
        ends.add(number, how, gone_at=gone_at)

    ends.proven(probe, began=1.7)

    assert ends.attempts() == [1, 2]


def test_a_look_from_before_something_was_found_is_not_enough_for_a_start():
    ends = UnprovenEnds()
    ends.suspect(Suspicion(reason="held"), [], at=5.0)

    assert ends.look_since(4.0, after_last_end=False) == 5.0
    assert (ends.suspicion_since(4.0) is None, ends.suspicion_since(6.0)) == (False, None)
