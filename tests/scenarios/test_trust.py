"""Cards that others use, cards that are broken, and how their groups come back."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from eventually import eventually
from lab import MODEL, Lab, running_lab

from orchestrator.model.specs import CanarySpec
from orchestrator.model.states import AttemptState, JobState, ServiceState

pytestmark = [pytest.mark.xdist_group("trust"), pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A lab of its own: the canary that is set there starts wherever a card fails."""
    folder = tmp_path_factory.mktemp("lab")
    with running_lab(folder, f"sqlite:///{folder}/tx81.db") as made:
        yield made


@pytest.fixture(scope="module")
def kcore(lab: Lab) -> int:
    """A job that made a kcore."""
    return lab.run(lab.pipeline())["compile"].id


@contextmanager
def a_foreigner_on(lab: Lab, card: int) -> Iterator[None]:
    """A process that is not ours has a card open while the block runs."""
    opener = "import sys; held = open(sys.argv[1]); print('open', flush=True); sys.stdin.read()"
    node = str(Path(lab.tree["cards"]) / f"dev-{card}")
    process = subprocess.Popen([sys.executable, "-c", opener, node], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.readline()
    try:
        yield
    finally:
        process.communicate()


def service_of(lab: Lab, slot: str) -> ServiceState:
    return lab.slot(slot).service_state


def test_a_card_that_somebody_else_uses_is_left_alone_until_it_is_proven_free(lab: Lab, kcore: int):
    lab.client.drain("lab1.g1", "so that the job meets the foreigner first")
    with a_foreigner_on(lab, 2):
        job = lab.infer(kcore)
        eventually(lambda: service_of(lab, "g0") is ServiceState.QUARANTINED, within=60)
        lab.client.resume("lab1.g1")
        done = lab.ended(job)
        lab.client.resume("lab1.g0")
        eventually(lambda: lab.slot("g0").resume_requested is None, within=60)
        refused = lab.slot("g0")
    lab.client.resume("lab1.g0")

    assert eventually(lambda: service_of(lab, "g0") is ServiceState.IN_SERVICE, within=60)
    # Given back: that somebody else uses the card costs the job no attempt.
    assert [(tried.slot_id, tried.state) for tried in done.attempts] == [
        ("lab1.g0", AttemptState.LOST),
        ("lab1.g1", AttemptState.SUCCEEDED),
    ]
    assert refused.quarantined_because.evidence["holders"][0]["card"] == 2
    assert "card 2 is open in" in refused.quarantined_because.resume_refused["reason"]
    assert "black_box" in [output.name for output in done.outputs]


ALWAYS_BS = """
extends: txnn_1.2.1_build0307
profile: always
kinds: {infer: {optional: {groups > 1: null, "groups >= 1": [-tf, "{traverse}", -bs, "{batch_sizes}"]}}}
"""
"""The shipped profile passes -bs for several groups only."""


@contextmanager
def variant(lab: Lab, name: str) -> Iterator[None]:
    """The tools of the lab read the guide in another way while the block runs."""
    chosen = Path(lab.tree["home"]) / "variants"
    chosen.write_text(f"{name}\n")
    try:
        yield
    finally:
        chosen.write_text("")


def test_tools_whose_bs_wins_over_cn_get_no_result_recorded_on_the_wrong_group(lab: Lab, kcore: int):
    lab.client.register_release("other", "txnn_bs_wins", lab.tree["home"])
    lab.client.register_release("always", "always", lab.tree["home"], False, ALWAYS_BS)
    with variant(lab, "bs-wins"):
        refused = lab.ended(lab.infer(kcore, placement={"slot": "g1"}, release="always"))
        fitting = lab.ended(lab.infer(kcore, placement={"slot": "g1"}, release="other"))

    assert (refused.state, refused.failure.kind, len(refused.attempts)) == (JobState.FAILED, "wrong_cards", 1)
    # It is stopped as soon as it is seen, perhaps before it has opened the last of them.
    told = re.match(r"it opened cards ([\d, ]+), and its own are 4, 5, 6, 7: ", refused.failure.reason)
    assert told is not None, refused.failure.reason
    assert {0} <= set(map(int, told[1].split(", "))) <= {0, 1, 2, 3}
    assert fitting.state is JobState.SUCCEEDED
    assert {service_of(lab, slot) for slot in ("g0", "g1")} == {ServiceState.IN_SERVICE}


def test_answers_that_are_text_for_people_are_read_as_their_profile_says(lab: Lab, kcore: int):
    lab.client.register_release("text", "txnn_no_jsonl", lab.tree["home"])
    with variant(lab, "no-jsonl"):
        done = lab.ended(lab.infer(kcore, release="text"))

    # It requires that every answer is the golden one.
    assert done.state is JobState.SUCCEEDED


def test_one_device_node_for_all_cards_is_enough_where_the_vendors_check_tells_them(lab: Lab, kcore: int):
    home = Path(lab.tree["home"]).with_name("legacy")
    install = [sys.executable, "-m", "emulator", "install", home, "--variant", "legacy-nodes"]
    subprocess.run(install, check=True, capture_output=True)
    lab.client.register_release("legacy", "txnn_legacy_nodes", str(home))

    done = lab.ended(lab.infer(kcore, release="legacy"))

    assert done.state is JobState.SUCCEEDED, done.failure
    assert not (home / "dev" / "accel").exists()


def test_a_tool_that_releases_its_cards_slowly_is_given_the_time(lab: Lab, kcore: int):
    lab.client.register_release("slow", "txnn_slow_kill", lab.tree["home"])
    with variant(lab, "slow-kill"):
        before = len(lab.events("open"))
        job = lab.infer(kcore, release="slow", spec={"repeats": 1000}, placement={"slot": "g1"})
        eventually(lambda: len(lab.events("open")) > before, within=60)
        lab.client.cancel(job)
        cancelled = lab.ended(job)
        next_one = lab.ended(lab.infer(kcore, release="slow", placement={"slot": "g1"}))

    assert cancelled.state is JobState.CANCELLED
    assert b"waiting for the cards" in b"".join(lab.client.log(job))
    assert lab.events("unclean") == []
    assert next_one.state is JobState.SUCCEEDED


def test_an_image_in_pieces_and_a_gm_that_is_called_after_another_model_fit_the_shipped_profile(lab: Lab):
    with variant(lab, "firmware-tree\nqwen2-gm"):
        done = lab.run(lab.pipeline(quantized=True, use_cache=False))

    assert {job.state for job in done.values()} == {JobState.SUCCEEDED}, [job.failure for job in done.values()]
    (gm,) = [output for output in done["quantize"].outputs if output.name == "gm"]
    (image,) = [output for output in done["compile"].outputs if output.name == "kcore"]
    assert gm.file_name == "DeepSeek-R1-Distill-Qwen2-Tiny_quant_bfloat16.gm"
    assert "chip3/tile15/kcore_fw.bin" in {entry.path for entry in lab.client.entries(image.id)}


def test_a_profile_is_learned_from_one_job_whose_answers_nobody_could_read(lab: Lab, kcore: int, tmp_path: Path):
    job = {
        "kind": "infer", "model": MODEL, "kcore": {"job": kcore, "artifact": "kcore"}, "max_tokens": 512,
        "prompts": {"path": f"server:{lab.tree['prompts']}"},
    }  # fmt: skip
    (tmp_path / "job.json").write_text(json.dumps({"spec": job}))
    with variant(lab, "no-jsonl"):
        command = [Path(sys.executable).with_name("tx81"), "releases", "learn", "emulated"]
        env = {**os.environ, "TX81_SERVER": lab.server, "TX81_TOKEN": lab.token, "TX81_DEVICES_DIR": lab.tree["cards"]}
        command += ["--submit", tmp_path / "job.json"]
        learned = subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout
        name = yaml.safe_load(learned)["profile"]
        lab.client.register_release("learned", name, lab.tree["home"], False, learned)
        done = lab.ended(lab.infer(kcore, release="learned"))

    # It requires that every answer is the golden one.
    assert done.state is JobState.SUCCEEDED, learned


def test_a_dead_card_keeps_its_group_out_until_a_canary_passes(lab: Lab, kcore: int):
    spec = {
        "model": MODEL, "kcore": {"job": kcore, "artifact": "kcore"}, "max_tokens": 512,
        "prompts": {"path": lab.tree["prompts"]}, "golden": {"path": lab.tree["golden"]},
    }  # fmt: skip
    lab.client.set_canary("emulated", CanarySpec.model_validate(spec))
    with lab.fault("4", "dead"):
        job = lab.infer(kcore, placement={"slot": "g1"})
        failed = eventually(lambda: [run for run in lab.slot("g1").canaries if run.state is JobState.FAILED], within=90)
        meanwhile = lab.slot("g1")

    assert eventually(lambda: service_of(lab, "g1") is ServiceState.IN_SERVICE, within=90)
    assert lab.ended(job).state is JobState.SUCCEEDED
    assert meanwhile.service_state is ServiceState.QUARANTINED
    assert meanwhile.quarantined_because.signature == "hpgr_device_error"
    assert failed[-1].failure.signature == "hpgr_device_error"
    assert lab.slot("g1").canaries[0].state is JobState.SUCCEEDED
    assert "passed" in lab.slot("g1").service_change.note
    assert lab.events("violation") == []
