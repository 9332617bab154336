"""Installations that read the guide differently: one profile each, the same worker."""

import json
from datetime import timedelta

import pytest
from sqlalchemy import select

from orchestrator.jobs.admission import admissible
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Artifact, Release
from workers.processes.process import StopReason, StopSignal

COMPILE = {"kind": "compile", "c_source": {"job": 1, "artifact": "c_source"}}
QUANTIZE = {"kind": "quantize", "model": "tiny-model"}
INFER = {"kind": "infer", "model": "tiny-model", "kcore": {"job": 1, "artifact": "kcore"}, "prompts": {"path": "/p"}}

KCORE = {"kcore": {"search": "{work}/kcore", "kind": "kcore"}}
FIRMWARE_TREE = """
out="$1/chip_out"; mkdir -p "$out"
echo '{"chip_num": 1, "chip": [{"tile_num": 2}]}' > "$out/model_info.json"
for tile in 0 1; do mkdir -p "$out/chip0/tile$tile"; echo fw > "$out/chip0/tile$tile/kcore_fw.bin"; done
"""


def outputs_of(lab, attempt_id):
    with lab.database.read() as session:
        return {row.name: row for row in session.scalars(select(Artifact).where(Artifact.attempt_id == attempt_id))}


def compiled(lab, cpu0, script, files):
    lab.says("compile", outputs=KCORE)
    lab.tool(script)
    attempt_id = lab.assigned(COMPILE, {"c_source": lab.stored_tree("c", files)}, slot="cpu0")
    lab.run(attempt_id, cpu0)
    return attempt_id


@pytest.mark.parametrize(
    ("script", "file"),
    [('cp "$1/a.c" "$1/kcore.bin"', "kcore.bin"), (FIRMWARE_TREE, "chip0/tile1/kcore_fw.bin")],
    ids=["literal", "firmware tree"],
)
def test_a_kernel_image_is_found_however_the_compiler_lays_it_out(lab, cpu0, script, file):
    attempt_id = compiled(lab, cpu0, script, {"a.c": "int a;"})

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    assert lab.store.read_entry(outputs_of(lab, attempt_id)["kcore"].digest, file)


@pytest.mark.parametrize(
    ("script", "files", "told"),
    [
        (f"{FIRMWARE_TREE}rm $out/chip0/tile1/*", {"a.c": "int a;"}, "chip0/tile1/kcore_fw.bin is missing"),
        ("exit 0", {"a.c": "int a;", "kcore.bin": "of another model"}, "no new kernel image"),
    ],
    ids=["cut off", "stale"],
)
def test_a_kernel_image_that_is_not_whole_or_not_new_is_none(lab, cpu0, script, files, told):
    attempt_id = compiled(lab, cpu0, script, files)

    assert lab.job(attempt_id).failure["kind"] == "output_missing"
    assert told in lab.job(attempt_id).failure["reason"]


@pytest.mark.parametrize("is_folder", [True, False], ids=["folder", "file"])
def test_quantised_weights_may_be_a_file_or_a_folder(lab, cpu0, is_folder):
    lab.says("quantize", outputs={"gm": {"search": "{out}", "glob": ["*.none", "*.gm"], "kind": "file_or_tree"}})
    lab.tool('mkdir "$2/w.gm"; echo x > "$2/w.gm/part"' if is_folder else 'echo x > "$2/w.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert outputs_of(lab, attempt_id)["gm"].tree is is_folder


def test_logs_beside_the_scripts_are_stored_if_the_run_wrote_them(lab, cpu0):
    lab.says("quantize", cwd="{root}/scripts", logs=["{cwd}/TX8_*.log"])
    (lab.folder / "release/scripts").mkdir()
    (lab.folder / "release/scripts/TX8_old.log").write_text("old")
    lab.tool('sleep 0.05; echo mine > TX8_new.log; touch "$2/w.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.store.path(outputs_of(lab, attempt_id)["vendor_log"].digest).read_bytes() == b"mine\n"


def test_scripts_that_write_beside_themselves_run_in_a_private_copy_of_their_folder(lab, g0):
    scripts = lab.folder / "release/script/run_infer"
    scripts.mkdir(parents=True)
    (scripts / "tool.sh").write_text(
        'echo "$1" > "$(dirname "$0")/state"; cp "$(dirname "$0")/state" "$2/r.txt"; exit 1'
    )
    scripts.chmod(0o555)
    lab.says(
        "infer",
        cwd="{work}/run_infer", copy_folders={"{work}/run_infer": "{root}/script/run_infer"},
        argv=["sh", "tool.sh", "{card_list}", "{out}"], environment={"TXDA_VISIBLE_DEVICES": "{card_list}"},
    )  # fmt: skip
    inputs = {"kcore": lab.stored("k", "k"), "prompts": lab.stored("p", "a\n")}
    attempt_id = lab.assigned(INFER, inputs)

    lab.run(attempt_id, g0)

    assert [path.name for path in scripts.iterdir()] == ["tool.sh"]
    left = outputs_of(lab, attempt_id)["left_files"].digest
    listed = {one["path"] for one in json.loads(lab.store.read_entry(left, "files.json"))}
    assert listed == {"out/r.txt", "cwd/state"}
    assert lab.store.read_entry(left, "out/r.txt") == b"0,1,2,3\n"
    assert lab.attempt(attempt_id).command["env"]["TXDA_VISIBLE_DEVICES"] == "0,1,2,3"


def test_a_folder_that_the_release_does_not_have_is_named(lab, g0):
    lab.says("infer", copy_folders={"{work}/run_infer": "{root}/nowhere"})
    attempt_id = lab.assigned(INFER, {"kcore": lab.stored("k", "k"), "prompts": lab.stored("p", "a\n")})

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).failure["kind"] == "bad_spec"
    assert "nowhere, which is no folder of this release" in lab.job(attempt_id).failure["reason"]


def test_a_kind_has_a_kill_ladder_of_its_own(lab, cpu0):
    """The profile's ladder ends the tool after a second; this one lets it release its card first."""
    lab.says(
        "quantize",
        kill_ladder=[{"signal": "SIGINT", "grace_seconds": 60}, {"signal": "SIGKILL", "grace_seconds": 5}],
    )
    lab.tool('trap "sleep 1.5; echo card released; exit 130" INT; echo ready; while :; do sleep 0.1; done')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    stop = StopSignal()
    stop.request(StopReason.CANCELLED)

    lab.run(attempt_id, cpu0, stop)

    assert lab.attempt(attempt_id).failure["signal"] is None


def test_a_fault_whose_profile_asks_for_a_pause_is_retried_after_it(lab, cpu0):
    with lab.database.write() as session:
        release = session.get_one(Release, "tiny")
        (known, *others) = release.profile["fault_signatures"]
        release.profile = {**release.profile, "fault_signatures": [{**known, "retry_after_seconds": 3600}, *others]}
    lab.tool("echo 'E HPGR: device error 7'; exit 1")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    job = lab.job(attempt_id)
    with lab.database.read() as session:
        now = lab.database.now(session)
        assert admissible(session, now=now) == []
        assert admissible(session, now=job.not_before) == [job.id]
    assert job.state is JobState.WAITING
    assert timedelta(minutes=59) < job.not_before - now <= timedelta(hours=1)
