import dataclasses
import math
from pathlib import Path

import pytest
import yaml

from orchestrator.catalog.profile_files import load_profile
from orchestrator.errors import BadSpec
from orchestrator.model.assignments import Assignment, InputArtifact, RegisteredModel
from orchestrator.settings import SHIPPED_PROFILES, Settings
from workers.toolchain.commands import at_address, document, fill, plan

WORK = Path("/work/g1/7.1")
DIGEST = "sha256:" + "0" * 64
MODEL = RegisteredModel("qwen", "/models/qwen", {"official": True}, {"param_dir": "/elsewhere"}, "")
INPUT = {"digest": DIGEST}
INFER = {
    "kind": "infer",
    "model": "qwen",
    "kcore": INPUT,
    "prompts": {"path": "/p"},
    "max_tokens": 64,
    "repeats": 3,
}


def shipped_profile():
    return yaml.safe_load((SHIPPED_PROFILES / "txnn_1.2.1_build0307.yaml").read_text())


def assignment(spec, *inputs, **change):
    made = Assignment(
        attempt_id=1, number=1, job_id=7, job_name="j", slot_ids=("h.g1",), spec=spec, profile=shipped_profile(),
        release="r1", release_digest=DIGEST, root="/opt/tx", model=MODEL,
        inputs=tuple(InputArtifact(name, DIGEST, file_name) for name, file_name in inputs),
        run_seconds=1, silence_seconds=1, log_bytes=1, seconds_left=math.inf,
    )  # fmt: skip
    return dataclasses.replace(made, **change)


def planned(spec, *inputs, slots=("g1",), **change):
    return plan(assignment(spec, *inputs, slot_ids=tuple(f"h.{slot}" for slot in slots), **change), work=WORK)


def test_inference_is_called_as_the_guide_says_on_the_cards_of_its_group():
    made = planned(INFER, ("kcore", "kcore"), ("prompts", "quest.txt"))

    assert made.command.argv[0] == "python"
    assert made.command.argv[1] == "/opt/tx/txnn_1.2.1_build0307/script/run_infer/offline_auto_test.py"
    flags = dict(zip(made.command.argv[2::2], made.command.argv[3::2], strict=True))
    assert flags == {
        "-mp": f"{WORK}/model/qwen", "-cd": f"{WORK}/inputs/kcore/kcore", "-pp": f"{WORK}/inputs/prompts/quest.txt",
        "-s": f"{WORK}/out", "-mt": "64", "-rn": "3", "-cn": "4..7",
    }  # fmt: skip


def test_inference_gets_a_config_that_names_its_kcore():
    made = planned(INFER, ("kcore", "kcore"), ("prompts", "quest.txt"))

    assert made.overlay.config == {"param_dir": f"{WORK}/inputs/kcore/kcore"}
    assert MODEL.tx81_config == {"param_dir": "/elsewhere"}


SERVE = {"kind": "serve", "model": "qwen", "kcore": INPUT}


def test_a_server_is_called_as_the_guide_says_on_its_port_and_the_cards_of_its_groups():
    made = at_address(planned({**SERVE, "groups": 2}, ("kcore", "k"), slots=("g0", "g1")), "127.0.0.1", 20001)

    assert made.command.argv[1:] == (
        "/opt/tx/txnn_1.2.1_build0307/script/run_infer/openai_completion_server.py",
        f"--model={WORK}/model/qwen", "--device=txcpu", "--load_format=tx", "--num_gpu_blocks_override=512",
        "--block_size=16", "--model-dtype", "bfloat16", "-cd", f"{WORK}/inputs/kcore/k", "--port", "20001",
        "-cn", "0..3,4..7", "--max-model-len=8192", "-ts=4",
    )  # fmt: skip
    assert made.overlay.config == {"param_dir": f"{WORK}/inputs/kcore/k"}


def test_a_server_on_all_cards_is_given_the_range_of_the_guide():
    made = planned({**SERVE, "groups": 8}, ("kcore", "k"), slots=GROUPS)

    assert made.command.argv[made.command.argv.index("-cn") + 1] == "0..31"


def test_a_server_is_told_where_to_listen_only_where_that_is_not_loopback():
    made = planned(SERVE, ("kcore", "k"))

    assert "--host" not in at_address(made, "127.0.0.1", 20001).command.argv
    assert at_address(made, "10.0.0.7", 20001).command.argv[-2:] == ("--host", "10.0.0.7")


def test_a_server_that_would_listen_everywhere_is_told_so_on_loopback_too():
    profile = shipped_profile()
    profile["kinds"]["serve"]["serve"]["listen_always"] = True

    made = planned(SERVE, ("kcore", "k"), profile=profile)

    assert at_address(made, "127.0.0.1", 20001).command.argv[-2:] == ("--host", "127.0.0.1")


def test_only_the_kind_serve_has_a_rule_for_servers():
    profile = shipped_profile()
    profile["kinds"]["infer"]["serve"] = profile["kinds"]["serve"].pop("serve")

    with pytest.raises(BadSpec, match="the kind serve has such a rule, and no other"):
        planned(INFER, ("kcore", "k"), ("prompts", "q"), profile=profile)


def test_an_optional_input_brings_its_arguments():
    with_golden = planned({**INFER, "golden": INPUT}, ("kcore", "k"), ("prompts", "q"), ("golden", "g.jsonl"))

    assert with_golden.command.argv[-2:] == ("-gp", f"{WORK}/inputs/golden/g.jsonl")


def test_a_switch_of_the_spec_brings_its_arguments():
    logged = planned({**INFER, "txda_log": True}, ("kcore", "k"), ("prompts", "q"))

    assert logged.command.argv[-2:] == ("-lp", f"{WORK}/txda")


def test_quantised_weights_are_laid_beside_the_model_under_their_own_name():
    made = planned({**INFER, "gm": INPUT}, ("kcore", "k"), ("prompts", "q"), ("gm", "qwen_quant_bf16.gm"))

    targets = {laid.name: laid.target for laid in made.inputs}
    assert targets["gm"] == WORK / "model/qwen/qwen_quant_bf16.gm"


@pytest.mark.parametrize(
    ("backend_type", "conda"),
    [("qwen2_7b_bf16", "tx8_txnn_trans_4.38"), ("deepseek_llama3_8b_bf16", "tx8_txnn_trans_4.46")],
)
def test_a_model_family_is_converted_in_its_own_environment_and_alone(backend_type, conda):
    made = planned({"kind": "convert", "model": "qwen", "backend_type": backend_type}, slots=("cpu0",))

    assert made.command.env["PATH"].startswith(f"/opt/tx/miniconda/envs/{conda}/bin:")
    assert made.exclusive == f"convert-{backend_type}"
    assert made.overlay.config == {"official": True}


def test_the_shell_of_the_converter_sees_no_value_as_its_own_text():
    spec = {"kind": "convert", "model": "qwen", "backend_type": "qwen2_7b_bf16"}

    made = planned(spec, slots=("cpu0",), root="/opt/$(reboot) '\"; x")

    assert made.command.argv[2] == 'source "$0" && exec "$@"'
    assert made.command.argv[3].startswith("/opt/$(reboot) '\"; x/")


def test_sources_are_compiled_in_a_private_copy():
    made = planned({"kind": "compile", "c_source": INPUT}, ("c_source", "node_0_0"), slots=("cpu0",))

    assert made.inputs[0].private
    assert made.command.argv[-1] == f"{WORK}/kcore/node_0_0"
    assert made.overlay is None


def test_in_a_container_paths_are_those_of_its_mounts():
    profile = load_profile(Settings(), "txnn_1.2.1_build0307_docker").model_dump(mode="json")
    profile["launcher"]["docker"]["mounts"] |= {"/work": "/jobs", "/models": "/weights"}

    made = planned(INFER, ("kcore", "k"), ("prompts", "q"), profile=profile)

    assert made.command.env["PATH"].startswith("/opt/miniconda/envs/tx8_txnn/bin:/opt/miniconda/bin:")
    assert made.command.argv[1:4] == (
        "/opt/tx/txnn_1.2.1_build0307/script/run_infer/offline_auto_test.py", "-mp", "/jobs/g1/7.1/model/qwen",
    )  # fmt: skip
    assert str(made.command.cwd) == "/jobs/g1/7.1/run"
    assert made.command.env["HOME"] == "/jobs/g1/7.1"
    assert made.overlay.config == {"param_dir": "/jobs/g1/7.1/inputs/kcore/k"}
    assert (made.overlay.target, made.overlay.links_to) == (WORK / "model/qwen", Path("/weights/qwen"))


def test_a_model_that_is_not_mounted_is_told():
    profile = load_profile(Settings(), "txnn_1.2.1_build0307_docker").model_dump(mode="json")
    profile["launcher"]["docker"]["mounts"] |= {"/work": "/jobs"}

    with pytest.raises(BadSpec, match=r"container txnn do not see /models/qwen: the mounts are .*/work at /jobs"):
        planned(INFER, ("kcore", "k"), ("prompts", "q"), profile=profile)


def test_braces_in_a_value_are_not_filled_in_again():
    assert fill("{a}/{b}", {"a": "{b}", "b": "x"}) == "{b}/x"


@pytest.mark.parametrize(
    ("spec", "change", "told"),
    [
        ({"kind": "convert", "model": "qwen", "backend_type": "gpt_7b"}, {}, "no backend type gpt_7b"),
        ({"kind": "quantize", "model": "gone"}, {"model": None}, "model gone is not registered"),
        (
            {"kind": "quantize", "model": "qwen"},
            {"model": dataclasses.replace(MODEL, official_config=None)},
            "no official config.json",
        ),
        ({"kind": "quantize"}, {}, "quantize.model: Field required"),
        ({"kind": "quantize", "model": "../../etc"}, {}, "quantize.model"),
    ],
)
def test_what_does_not_fit_is_told(spec, change, told):
    with pytest.raises(BadSpec, match=told):
        planned(spec, slots=("cpu0",), **change)


@pytest.mark.parametrize("file_name", ["../../../etc/passwd", "/etc/passwd", "..", "", "a\0b"])
def test_no_file_name_leads_out_of_the_working_folder(file_name):
    with pytest.raises(BadSpec, match="not a plain file name"):
        planned({**INFER, "gm": INPUT}, ("kcore", "k"), ("prompts", "q"), ("gm", file_name))


def test_a_place_holder_nobody_knows_is_told_with_those_that_are_known():
    profile = shipped_profile()
    profile["kinds"]["quantize"]["argv"] = ["tx8-quant", "{modle}"]

    with pytest.raises(BadSpec, match=r"uses \{modle\}.*known: .*model"):
        planned({"kind": "quantize", "model": "qwen"}, slots=("cpu0",), profile=profile)


GROUPS = tuple(f"g{index}" for index in range(8))


@pytest.mark.parametrize(
    ("spec", "slots", "passed"),
    [
        ({"groups": 2}, ("g0", "g2"), {"-cn": "0..3,8..11", "-tf": "True", "-bs": "2"}),
        ({"cards": "8..11,0..3"}, ("g0", "g2"), {"-cn": "0..3,8..11", "-tf": "True", "-bs": "2"}),
        (
            {"cards": "0..31"},
            GROUPS,
            {"-cn": ",".join(f"{at}..{at + 3}" for at in range(0, 32, 4)), "-tf": "True", "-bs": "8"},
        ),
        ({"cards": "0"}, ("g0",), {"-cn": "0"}),
        ({"groups": 2, "batch_sizes": (2, 1)}, ("g0", "g2"), {"-cn": "0..3,8..11", "-tf": "True", "-bs": "[2,1]"}),
        ({"groups": 2, "traverse": False}, ("g0", "g2"), {"-cn": "0..3,8..11", "-tf": "False", "-bs": "2"}),
    ],
)
def test_the_cards_are_passed_and_of_several_groups_their_number(spec, slots, passed):
    made = planned({**INFER, **spec}, ("kcore", "k"), ("prompts", "q"), slots=slots)

    flags = dict(zip(made.command.argv[2::2], made.command.argv[3::2], strict=True))
    assert {flag: value for flag, value in flags.items() if flag in ("-cn", "-bs", "-tf")} == passed


@pytest.mark.parametrize(
    ("spec", "slots"),
    [
        ({"cards": "0..3"}, ("g1",)),
        ({}, ("cpu0",)),
        ({}, ("g0", "g1")),
        ({"groups": 8}, ("g0",)),
        ({"cards": "0..3,8..11"}, ("g0", "g1")),
        ({"cards": "0"}, ("g1",)),
    ],
)
def test_no_job_gets_cards_that_are_not_its_slots(spec, slots):
    with pytest.raises(BadSpec, match="placed on"):
        planned({**INFER, **spec}, ("kcore", "k"), ("prompts", "q"), slots=slots)


def test_secrets_are_masked_where_the_command_is_kept():
    profile = shipped_profile()
    profile["environment"] |= {"HF_TOKEN": "s", "AWS_SECRET_ACCESS": "s", "api_key": "s", "KEYBOARD": "us"}

    kept = document(planned({"kind": "quantize", "model": "qwen"}, slots=("cpu0",), profile=profile).command)

    assert [kept["env"][name] for name in ("HF_TOKEN", "AWS_SECRET_ACCESS", "api_key", "KEYBOARD")] == [
        "***",
        "***",
        "***",
        "us",
    ]


def infer_profile(**change):
    profile = shipped_profile()
    profile["kinds"]["infer"] |= change
    return profile


def test_cards_can_be_passed_one_by_one_in_the_environment_of_the_kinds_that_use_them():
    profile = infer_profile(environment={"TXDA_VISIBLE_DEVICES": "{card_list}", "LANG": "C"})

    made = planned(INFER, ("kcore", "k"), ("prompts", "q"), slots=("g2",), profile=profile)
    built = planned({"kind": "quantize", "model": "qwen"}, slots=("cpu0",), profile=profile)

    assert made.command.env["TXDA_VISIBLE_DEVICES"] == "8,9,10,11"
    assert (made.command.env["LANG"], built.command.env["LANG"]) == ("C", "C.UTF-8")
    assert made.command.env["PATH"]
    assert "TXDA_VISIBLE_DEVICES" not in built.command.env


@pytest.mark.parametrize(
    ("spec", "slots", "words"),
    [
        ({}, ("g1",), "4..7 4,5,6,7 4"),
        ({"groups": 2}, ("g0", "g2"), "0..3,8..11 0,1,2,3,8,9,10,11 8"),
        ({"cards": "0"}, ("g0",), "0 0 1"),
        ({"cards": "4,5,6,7"}, ("g1",), "4..7 4,5,6,7 4"),
    ],
)
def test_cards_are_ranges_or_a_list_or_a_number(spec, slots, words):
    profile = infer_profile(argv=["tool", "{cards} {card_list} {card_count}"], optional={})

    made = planned({**INFER, **spec}, ("kcore", "k"), ("prompts", "q"), slots=slots, profile=profile)

    assert made.command.argv == ("tool", words)


@pytest.mark.parametrize(
    ("param_dir", "copy_in", "told"),
    [
        ("{kcore}", {}, f"{WORK}/inputs/kcore/node_0_0"),
        ("{kcore}/kcore.bin", {}, f"{WORK}/inputs/kcore/node_0_0/kcore.bin"),
        ("{work}/chip_out", {"kcore": "{work}/chip_out/node_0_0"}, f"{WORK}/chip_out"),
    ],
    ids=["node folder", "file", "chip_out"],
)
def test_param_dir_is_what_the_profile_says(param_dir, copy_in, told):
    profile = infer_profile(param_dir=param_dir, copy_in=copy_in)

    made = planned(INFER, ("kcore", "node_0_0"), ("prompts", "q"), profile=profile)

    assert made.overlay.config["param_dir"] == told


INT8 = (("gm", "w.gm"), ("kcore", "node_0_0"), ("prompts", "q"))


@pytest.mark.parametrize(
    ("change", "at", "passed"),
    [
        ({}, f"{WORK}/model/qwen/w.gm", f"{WORK}/model/qwen"),
        ({"copy_in": {"gm": "{kcore}/{gm_name}"}}, f"{WORK}/inputs/kcore/node_0_0/w.gm", f"{WORK}/model/qwen"),
        (
            {"copy_in": {}, "argv": ["tool"], "optional": {"gm": ["-mp", "{gm}"], "not gm": ["-mp", "{model}"]}},
            f"{WORK}/inputs/gm/w.gm",
            f"{WORK}/inputs/gm/w.gm",
        ),
    ],
    ids=["linked into the model", "in the kcore", "passed as the model"],
)
def test_int8_weights_go_where_the_profile_says(change, at, passed):
    made = planned({**INFER, "gm": INPUT}, *INT8, profile=infer_profile(**change))

    laid = {one.name: str(one.target) for one in made.inputs}
    assert laid["gm"] == at
    assert made.command.argv[made.command.argv.index("-mp") + 1] == passed


def test_what_is_laid_into_another_input_is_laid_after_it():
    made = planned({**INFER, "gm": INPUT}, *INT8, profile=infer_profile(copy_in={"gm": "{kcore}/{gm_name}"}))

    assert [one.name for one in made.inputs][-1] == "gm"


@pytest.mark.parametrize(
    ("folders", "told"),
    [({"/elsewhere": "{infer}"}, "not below the working folder"), ({"{work}/scripts": "/etc"}, "not below the root")],
)
def test_only_a_folder_of_the_release_is_copied_and_only_into_the_working_folder(folders, told):
    with pytest.raises(BadSpec, match=told):
        planned(INFER, ("kcore", "k"), ("prompts", "q"), profile=infer_profile(copy_folders=folders))
