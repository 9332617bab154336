"""Cards are proven free before and after an attempt, a tool keeps to its own, and what went wrong is kept."""

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest
from builders.databases import both_databases
from eventually import eventually
from sqlalchemy import select

from orchestrator.model.profile import OwnCards, ProbeRule
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.slots import service
from orchestrator.storage.tables import Artifact, Doubt, Event, Release, Slot
from workers.attempt.blackbox import kernel_lines
from workers.attempt.own_cards import why_unproven
from workers.host.probe import Probe
from workers.slot import owned

G0 = SlotName.parse("g0")
INFER = {"kind": "infer", "model": "tiny-model", "kcore": {"job": 1, "artifact": "kcore"}, "prompts": {"path": "/p"}}
ANSWER = '{"r": 1, "i": 0, "q": "2+2?", "a": "4"}'
GOOD = f"echo '{ANSWER}' > \"$2/answers.jsonl\""


@contextmanager
def a_foreigner_on(lab, card):
    """A process of somebody else that has a card open."""
    node = lab.settings.devices_dir / f"dev-{card}"
    opener = "import sys; held = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", opener, str(node)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    try:
        yield process
    finally:
        process.communicate()


def inferring(lab, **spec):
    inputs = {"kcore": lab.stored("k", "k"), "prompts": lab.stored("p", "2+2?\n")}
    golden = '{"question": "2+2?", "answer": "4"}\n'
    return lab.assigned({**INFER, **spec}, {**inputs, "golden": lab.stored("golden", golden)})


def slot_of(lab):
    with lab.database.read() as session:
        return session.get_one(Slot, "lab.g0")


def black_box(lab, attempt_id):
    with lab.database.read() as session:
        mine = select(Artifact).where(Artifact.attempt_id == attempt_id, Artifact.name == "black_box")
        return json.loads(lab.store.path(session.scalars(mine).one().digest).read_text())


def test_a_foreign_process_on_a_card_stops_an_attempt_before_it_starts_and_the_job_goes_elsewhere(lab, g0):
    lab.tool(GOOD)
    attempt_id = inferring(lab)

    with a_foreigner_on(lab, 2) as foreigner:
        lab.run(attempt_id, g0)

    attempt, because = lab.attempt(attempt_id), slot_of(lab).quarantined_because
    assert (attempt.state, attempt.pid, attempt.failure["kind"]) == (AttemptState.LOST, None, "stopped")
    assert lab.job(attempt_id).state is JobState.QUEUED
    assert because["evidence"]["holders"][0]["card"] == 2
    assert because["evidence"]["holders"][0]["pid"] == foreigner.pid
    assert "open(sys.argv[1])" in because["reason"]
    assert not attempt.suspicion["blames_job"]


@both_databases
@pytest.mark.parametrize("seconds", ["0", "1.1"], ids=["short", "long"])
def test_a_foreign_process_that_came_meanwhile_costs_the_slot_but_not_the_result(lab, g0, seconds):
    node = lab.settings.devices_dir / "dev-1"
    # What it starts has left its tree for good: a child of the test, as a person's shell would be.
    lab.tool(
        f"{GOOD}; echo go > {lab.folder}/go; while [ ! -e {lab.folder}/there ]; do sleep 0.01; done; sleep {seconds}"
    )
    attempt_id = inferring(lab)
    waits = f"while [ ! -e {lab.folder}/go ]; do sleep 0.01; done; exec 3<{node}; touch {lab.folder}/there; sleep 60"
    foreigner = subprocess.Popen(["bash", "-c", waits])
    try:
        lab.run(attempt_id, g0)
        # A short run is looked at a moment after its end was reported.
        eventually(lambda: slot_of(lab).service_state is ServiceState.QUARANTINED)
    finally:
        foreigner.kill()
        foreigner.wait()

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    because, suspicion = slot_of(lab).quarantined_because, lab.attempt(attempt_id).suspicion
    assert "after the run, card 1 is open in" in because["reason"]
    assert because["evidence"]["holders"][0]["card"] == 1
    assert ("card 1" in suspicion["reason"], suspicion["blames_job"]) == (True, False)


def test_a_card_that_is_not_there_is_a_fault_that_says_what_to_look_at(lab, g0):
    lab.tool(GOOD)
    (lab.settings.devices_dir / "dev-3").unlink()
    attempt_id = inferring(lab)

    lab.run(attempt_id, g0)

    assert "card 3 is missing" in lab.attempt(attempt_id).failure["reason"]
    assert "driver" in lab.attempt(attempt_id).failure["reason"]


def test_a_card_that_vanishes_under_a_tool_fails_no_job(lab, g0):
    lab.tool(f"rm {lab.settings.devices_dir}/dev-2; echo device 2 is lost; exit 1")
    attempt_id = inferring(lab)

    lab.run(attempt_id, g0)

    failure = lab.attempt(attempt_id).failure
    assert (failure["kind"], failure["exit_code"]) == ("fault", 1)
    assert "card 2 has disappeared" in failure["reason"]
    assert "device 2 is lost" in failure["reason"]
    assert lab.job(attempt_id).state is JobState.QUEUED
    assert slot_of(lab).service_state is ServiceState.QUARANTINED


def test_a_tool_that_opens_cards_of_another_group_is_stopped_and_told_which(lab, g0):
    lab.tool(f"exec 3<{lab.settings.devices_dir}/dev-0 4<{lab.settings.devices_dir}/dev-9; sleep 60")
    attempt_id = inferring(lab)

    lab.run(attempt_id, g0)

    failure = lab.job(attempt_id).failure
    assert (failure["kind"], slot_of(lab).service_state) == ("wrong_cards", ServiceState.IN_SERVICE)
    assert "it opened cards 9, and its own are 0, 1, 2, 3" in failure["reason"]


def test_a_build_on_a_cpu_seat_may_open_no_card_at_all(lab, cpu0):
    lab.tool(f"exec 3<{lab.settings.devices_dir}/dev-0; sleep 60")
    attempt_id = lab.assigned({"kind": "quantize", "model": "tiny-model"}, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert "it opened cards 0, and a CPU job has no cards" in lab.job(attempt_id).failure["reason"]


def test_a_fault_leaves_a_black_box_with_the_command_without_its_secrets(lab, g0):
    lab.tool("echo 'line 卡'; printf 'bytes \\377\\n'; echo 'E card is gone: 7'; exit 1")
    attempt_id = inferring(lab)

    lab.run(attempt_id, g0)

    box = black_box(lab, attempt_id)
    assert box["log"][:1] + box["log"][2:] == ["line 卡", "E card is gone: 7"]
    assert box["command"]["env"]["API_TOKEN"] == "***"
    assert box["failure"]["kind"] == "fault"
    assert box["suspicion"]["signature"] == "card_gone"
    assert box["cards"]["holders"] == []
    assert box["outcome"]["exit_code"] == 1


def test_a_shim_that_is_killed_leaves_its_slot_in_service_however_slowly_the_tools_family_dies(lab, g0):
    node = lab.settings.devices_dir / "dev-1"
    # Each child has the card open, and enough memory that its end takes a while.
    child = f"x = bytearray(64 << 20); held = open('{node}'); print('up', flush=True); import time; time.sleep(600)"
    lab.tool(f'for n in 1 2 3; do {sys.executable} -S -c "{child}" & done; wait')

    for _ in range(20):
        attempt_id = inferring(lab)
        running = lab.run_aside(attempt_id, g0)
        eventually(lambda number=attempt_id: lab.attempt(number).pid)
        log = g0.work / f"{lab.job(attempt_id).id}.1" / "log"
        eventually(lambda path=log: path.read_text().count("up") == 3)
        os.kill(g0.shim.pid, signal.SIGKILL)
        running.join(60)

        assert "the shim was killed" in lab.attempt(attempt_id).failure["reason"]
        assert slot_of(lab).service_state is ServiceState.IN_SERVICE
        lab.cancel(attempt_id)


def test_a_success_leaves_no_black_box(lab, g0):
    lab.tool(GOOD)
    attempt_id = inferring(lab)

    lab.run(attempt_id, g0)

    with lab.database.read() as session:
        names = set(session.scalars(select(Artifact.name).where(Artifact.attempt_id == attempt_id)))
    assert names == {"answers", "log"}


@both_databases
def test_a_canary_passes_only_with_the_golden_answers_and_a_slot_that_fails_is_quarantined(lab, g0):
    canary = {"kind": "canary", "golden": {"path": "/g"}}
    lab.tool(GOOD)
    passing = inferring(lab, **canary)
    lab.run(passing, g0)
    lab.tool(GOOD.replace('"4"', '"5"'))
    failing = inferring(lab, **canary)
    lab.run(failing, g0)

    assert lab.job(passing).state is JobState.SUCCEEDED
    assert lab.job(failing).failure["kind"] == "wrong_answers"
    assert "'5', not '4'" in lab.job(failing).failure["reason"]
    assert "the canary failed" in slot_of(lab).quarantined_because["reason"]


def test_a_worker_that_starts_on_a_held_card_announces_its_slot_quarantined(lab):
    with a_foreigner_on(lab, 0), owned(lab.settings, lab.database, G0):
        slot = slot_of(lab)

    assert slot.service_state is ServiceState.QUARANTINED
    assert "when its worker started, card 0 is open in pid" in slot.quarantined_because["reason"]


@pytest.mark.parametrize("held", [True, False])
def test_a_worker_that_is_asked_for_its_slot_looks_at_the_cards_first(lab, g0, held):
    with lab.database.write() as session:
        service.suspect(session, g0.id, worker=g0.worker, reason="card is gone", now=lab.database.now(session))

    with a_foreigner_on(lab, 3 if held else 9):
        with lab.database.write() as session:
            service.resume(session, g0.id, by="alice", note=None, now=lab.database.now(session))
        eventually(lambda: slot_of(lab).resume_requested is None)

    with lab.database.read() as session:
        last = session.scalars(select(Event.kind).where(Event.slot_id == g0.id).order_by(Event.id.desc())).first()
    assert last == ("slot.resume_refused" if held else "slot.resumed")


def vendor_check(lab, script):
    """The profile's check of a card, as a script that gets its number."""
    tool = lab.folder / "tsm_smi"
    tool.write_text(f"#!/bin/sh\n{script}\n")
    tool.chmod(0o755)
    check = {
        "argv": ["tsm_smi", "-i", "{card}"], "environment": {"PATH": f"{lab.folder}:/usr/bin:/bin"},
        "free": "No running processes found", "seconds": 2,
    }  # fmt: skip
    return Probe(ProbeRule.model_validate({"check": check}), devices=lab.settings.devices_dir, root="")


@pytest.mark.parametrize(
    ("script", "says"),
    [
        ("echo '| No running processes found |'", "cards 4, 5 are free"),
        ("echo '| 5 | 1234 python |'", "card 4 is not free according to the vendor's check: | 5 | 1234 python |"),
        ("echo 'Invalid device index'; exit 1", "card 4 is missing: tsm_smi -i 4 ended with 1: Invalid device index"),
        ("sleep 60", "card 4 is missing: tsm_smi -i 4 ended with no answer: "),
    ],
    ids=["free", "busy", "missing", "silent"],
)
def test_the_vendors_own_check_is_asked_where_it_is_installed(lab, script, says):
    assert vendor_check(lab, script).look([4, 5]).sentence() == says


def test_a_check_that_is_not_installed_is_not_asked(lab):
    probe = vendor_check(lab, "exit 1")
    (lab.folder / "tsm_smi").unlink()

    assert probe.look([4, 5]).free


def test_a_daemon_that_holds_idle_cards_by_right_is_no_holder(lab):
    rule = ProbeRule.model_validate({"holders": [os.path.realpath(sys.executable)]})
    probe = Probe(rule, devices=lab.settings.devices_dir, root="")

    with a_foreigner_on(lab, 0):
        assert probe.look([0]).free


def test_a_card_is_recognised_by_what_it_is_and_not_by_its_path(lab):
    (lab.folder / "container").mkdir()
    os.link(lab.settings.devices_dir / "dev-0", lab.folder / "container" / "dev-0")
    with (lab.folder / "container" / "dev-0").open() as elsewhere:
        process = subprocess.Popen(["sleep", "60"], stdin=elsewhere)
    try:
        finding = Probe(ProbeRule(), devices=lab.settings.devices_dir, root="").look([0, 1])
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()

    assert [(holder.card, holder.pid) for holder in finding.holders if holder.pid == process.pid] == [(0, process.pid)]


def test_kernel_lines_are_none_where_there_are_none_to_read():
    assert kernel_lines(since=1e12) == []


def test_a_slot_is_looked_at_as_the_default_release_says(lab):
    with lab.database.write() as session:
        release = session.get_one(Release, "tiny")
        release.profile = {**release.profile, "probe": {"nodes": ["{devices}/other-{card}"]}}

    with owned(lab.settings, lab.database, G0):
        assert "other-0" in slot_of(lab).quarantined_because["reason"]


# ── what cards measure ───────────────────────────────────────────────────────────────────────────────────────────────


def measured_by(lab, **rule):
    """A program that measures cards, 90 °C and more, and notes its second call for card 0: then one sample is done."""
    program = lab.folder / "smi"
    program.write_text(
        f'#!/bin/sh\n[ "$2" != 0 ] || mkdir {lab.folder}/once || mkdir {lab.folder}/twice\necho "9$2C"\n'
    )
    program.chmod(0o755)
    telemetry = {
        "argv": ["smi", "-i", "{card}"], "environment": {"PATH": f"{lab.folder}:/usr/bin:/bin"}, "every": 0.1,
        "patterns": ["(?P<celsius>[0-9]+)C"], **rule,
    }  # fmt: skip
    with lab.database.write() as session:
        release = session.scalars(select(Release)).one()
        release.profile = {**release.profile, "telemetry": telemetry}


@pytest.mark.parametrize(("most", "doubts"), [(93, []), (92, ["out_of_limits"])])
def test_what_cards_measured_is_kept_and_a_result_beyond_the_limits_is_doubtful(lab, g0, most, doubts):
    measured_by(lab, limits={"celsius": {"most": most}})
    lab.tool(f"while [ ! -e {lab.folder}/twice ]; do sleep 0.02; done; {GOOD}")
    attempt_id = inferring(lab)

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    celsius = lab.attempt(attempt_id).telemetry["measures"]["celsius"]
    assert (celsius["min"], celsius["max"], celsius["max_card"]) == (90, 93, 3)
    with lab.database.read() as session:
        assert session.scalars(select(Doubt.reason)).all() == doubts


OWN_CARDS = {"required": True, "said": [r"(?m)^using cards (?P<cards>[\d.,]{1,32})$"]}


@pytest.fixture
def cards_required(lab):
    """The release's profile wants the cards of a run to be seen."""
    with lab.database.write() as session:
        release = session.get_one(Release, "tiny")
        kinds = release.profile["kinds"]
        release.profile = {**release.profile, "kinds": {**kinds, "infer": {**kinds["infer"], "own_cards": OWN_CARDS}}}


def test_a_result_whose_cards_were_not_seen_is_refused_where_the_profile_requires_it(lab, g0, cards_required):
    lab.tool(GOOD)
    attempt_id = inferring(lab)

    lab.run(attempt_id, g0)

    job = lab.job(attempt_id)
    assert (job.state, job.failure["kind"]) == (JobState.FAILED, "wrong_cards")
    assert "was not seen to open any of its cards 0, 1, 2, 3" in job.failure["reason"]
    assert slot_of(lab).service_state is ServiceState.IN_SERVICE


@pytest.mark.parametrize("shown", ["exec 3<{devices}/dev-0; sleep 0.5", "echo using cards 0..3"])
def test_a_result_counts_if_its_cards_were_seen_open_or_named_by_the_tool(lab, g0, cards_required, shown):
    lab.tool(f"{GOOD}; {shown.format(devices=lab.settings.devices_dir)}")
    attempt_id = inferring(lab)

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED


def test_a_tool_that_names_other_cards_has_failed_even_if_a_card_fault_is_in_its_log(lab, g0, cards_required):
    # Other cards were busy, so it could not open them: that says nothing about its own slot.
    lab.tool("echo using cards 8..11; echo 'E card is gone: 9'; exit 1")
    attempt_id = inferring(lab)

    lab.run(attempt_id, g0)

    failure = lab.job(attempt_id).failure
    assert (failure["kind"], slot_of(lab).service_state) == ("wrong_cards", ServiceState.IN_SERVICE)
    assert "its output says that it uses cards 8, 9, 10, 11, and its own are 0, 1, 2, 3" in failure["reason"]


def test_a_node_that_somebody_opened_while_a_tool_ran_is_no_proof_that_it_was_the_tool(lab, g0, cards_required):
    lab.tool(f"{GOOD}; echo go > {lab.folder}/go; while [ ! -e {lab.folder}/there ]; do sleep 0.01; done")
    node = lab.settings.devices_dir / "dev-1"
    looks = f"while [ ! -e {lab.folder}/go ]; do sleep 0.01; done; : <{node}; touch {lab.folder}/there"
    attempt_id = inferring(lab)

    with subprocess.Popen(["bash", "-c", looks]):
        lab.run(attempt_id, g0)

    assert lab.job(attempt_id).failure["kind"] == "wrong_cards"
    assert "wrong_cards" not in str(slot_of(lab).quarantined_because)


def test_why_cards_were_not_seen_names_the_remedy_where_the_worker_may_not_look():
    rule = OwnCards(required=True)

    assert "run it as their user or as root" in why_unproven(rule, [G0], seen=(), said=(), hidden=True)
    assert why_unproven(rule, [G0], seen=(), said=(2,), hidden=True) is None
