"""The traps of the guide: each is refused before anything is touched, with the reason and exit code 2."""

import json
import shutil

import pytest

from tests.emulator.builders import a_model
from tests.emulator.desk import BF16, INT8


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ("--backend-model-type qwen3_7b_bf16 --input_model {model}", "is none of"),
        ("--backend-model-type qwen2_7b_bf16 --input_model /nowhere", "no such folder"),
        ("--backend-model-type qwen2_7b_bf16 --input_model {tx81}", "param_dir"),
        ("--backend-model-type qwen2_7b_quant --input_model {model}", "needs --q-model-path"),
        ("--backend-model-type qwen2_7b_bf16 --input_model {model} --q-model-path x.gm", "does not take"),
        ("--backend-model-type qwen2_7b_quant --input_model {model} --q-model-path {model}/config.json", "safetensors"),
        (
            "--backend-model-type qwen2_7b_quant --input_model {model} --q-model-path {model}/model.safetensors",
            "not written by tx8-quant",
        ),
        ("--backend-model-type deepseek_llama3_8b_bf16 --input_model {model}", "this type takes ['LlamaForCausalLM']"),
        ("--backend-model qwen2_7b_bf16 --input_model {model}", "required"),
    ],
)
def test_the_converter_refuses(desk, flags, reason):
    done = desk.convert(flags.format(model=desk.model, tx81=desk.tx81))

    assert done.returncode == 2
    assert reason in done.stderr
    assert (desk.node() / "kcore.bin").is_file()


def test_the_converter_wants_its_environment_sourced(desk):
    done = desk.convert(f"--backend-model-type qwen2_7b_bf16 --input_model {desk.model}", env="")

    assert done.returncode == 2
    assert "env_set.sh" in done.stderr


@pytest.mark.parametrize(
    ("model_type", "active", "wanted"),
    [
        ("qwen2_7b_bf16", "tx8_txnn", "tx8_txnn_trans_4.38"),
        ("deepseek_llama3_8b_bf16", "tx8_txnn_trans_4.38", "tx8_txnn_trans_4.46"),
    ],
)
def test_the_converter_wants_the_conda_environment_of_the_family(desk, model_type, active, wanted):
    done = desk.convert(f"--backend-model-type {model_type} --input_model {desk.model}", CONDA_DEFAULT_ENV=active)

    assert done.returncode == 2
    assert f"conda activate {wanted}" in done.stderr


def test_the_interpreter_of_an_environment_counts_as_activating_it(desk):
    python = desk.places["envs"] / "tx8_txnn_trans_4.38" / "bin" / "python"

    done = desk.type(f"{python} {desk.places['infer']}/offline_auto_test.py -mp {desk.tx81} -cd x -pp x -s x")

    assert done.returncode == 2
    assert "conda activate tx8_txnn" in done.stderr


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        ({"cn": "1..4"}, "not whole card groups"),
        ({"cn": "0..2"}, "not whole card groups"),
        ({"cn": "0..3,0..3"}, "not whole card groups"),
        ({"cn": "28..32"}, "neither a card"),
        ({"cn": "0"}, "single card"),
        ({"cn": ""}, "neither a card"),
        ({"bs": 9}, "not a number from 1 to 8"),
        ({"bs": "[1,0]"}, "not a number from 1 to 8"),
        ({"mt": 8193}, "not a number from 1 to 8192"),
        ({"rn": 0}, "not a number from 1"),
        ({"pp": "nowhere.txt"}, "No such file"),
        ({"mp": "/nowhere"}, "no such folder"),
        ({"cd": "/nowhere"}, "no such file"),
        ({"tf": "Maybe"}, "invalid choice"),
        ({"s": None}, "required"),
    ],
)
def test_the_offline_test_refuses(desk, flags, reason):
    done = desk.offline(**flags)

    assert done.returncode == 2
    assert reason in done.stderr
    assert desk.events() == []


def test_the_offline_test_refuses_the_official_config(desk):
    done = desk.offline(mp=desk.model)

    assert done.returncode == 2
    assert "has no param_dir" in done.stderr


def test_the_offline_test_refuses_a_config_that_leads_to_another_kcore(desk):
    shutil.copytree(desk.node(), desk.work / "node_0_0")

    done = desk.offline(cd=desk.work / "node_0_0")

    assert done.returncode == 2
    assert "-cd leads to" in done.stderr


def test_param_dir_and_case_dir_may_name_the_folder_or_the_file_through_links(desk):
    (desk.work / "kcore").symlink_to(desk.node())

    done = desk.offline(cd=desk.work / "kcore" / "kcore.bin", pp=desk.ask("Who are you?"))

    assert done.returncode == 0, done.stderr


def test_bf16_weights_are_refused_by_an_int8_kcore(desk, built):
    shutil.copytree(built.node(INT8), desk.node(BF16), dirs_exist_ok=True)

    done = desk.offline()

    assert done.returncode == 2
    assert f"the kcore needs {built.gm.name}" in done.stderr


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hidden_size": 128}, "hidden_size is 128"),
        ({"architectures": ["LlamaForCausalLM"]}, "architecture is LlamaForCausalLM"),
        ({"tensor_parallel": {"parallel_size": 8}}, "parallel_size is 8"),
    ],
)
def test_another_models_config_is_refused_by_the_kcore(desk, change, reason):
    path = desk.tx81 / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))

    done = desk.offline()

    assert done.returncode == 2
    assert reason in done.stderr


def test_another_models_weights_are_refused_by_name(desk):
    config = json.loads((desk.model / "config.json").read_text())
    other = a_model(
        desk.work / "other", dtype="F16", **{key: config[key] for key in config if "size" in key or "num" in key}
    )
    (desk.tx81 / "model.safetensors").unlink()
    (desk.tx81 / "model.safetensors").symlink_to(other / "model.safetensors")

    done = desk.offline()

    assert done.returncode == 2
    assert "model.embed_tokens.weight is F16" in done.stderr


def test_a_kcore_beside_another_models_source_is_refused_as_stale(desk):
    path = desk.node() / "manifest.json"
    path.write_text(path.read_text().replace('"fingerprint": "', '"fingerprint": "0'))

    done = desk.offline()

    assert done.returncode == 2
    assert "run soc_compile.sh again" in done.stderr


def test_a_file_that_is_no_kcore_is_refused(desk):
    (desk.node() / "kcore.bin").write_bytes(b"\x7fELF and then nothing")

    done = desk.offline()

    assert done.returncode == 2
    assert "not a kcore for this machine" in done.stderr


def test_questions_that_are_not_utf8_or_too_long_are_refused(desk):
    strange, long = desk.work / "gbk.txt", desk.work / "long.txt"
    strange.write_bytes("你好".encode("gbk"))
    long.write_text("short\n" + "long " * 9000)

    refused = [desk.offline(pp=strange), desk.offline(pp=long)]

    assert [done.returncode for done in refused] == [2, 2]
    assert "not UTF-8" in refused[0].stderr
    assert "question 2 has" in refused[1].stderr


def test_blank_lines_a_byte_order_mark_and_crlf_are_no_questions(desk):
    path = desk.work / "windows.txt"
    path.write_bytes("\ufeffWho are you?\r\n\r\n  \r\n你是谁？\r\n".encode())

    desk.offline(pp=path)

    assert [row["question"] for row in desk.responses()] == ["Who are you?", "你是谁？"]


def test_a_question_file_of_any_name_gives_a_safe_log_name(desk):
    path = desk.work / "../work/问 题;rm -rf.txt"
    path.write_text("Who are you?\n")

    done = desk.offline(pp=path)

    assert done.returncode == 0, done.stderr
    assert list(desk.work.glob("TX8_offline_func_batchsize_1_quest_问_题_rm_-rf_*.log"))


@pytest.mark.parametrize("arguments", ["", "install", "install emulation", "uninstall silicon"])
def test_the_driver_installer_knows_one_call(desk, arguments):
    assert desk.type(f"{desk.places['driver']} {arguments}").returncode == 2


@pytest.mark.parametrize("flags", ["-dv tx81", "-wm gptq", "-dtype float16", "-mp /nowhere"])
def test_the_quantiser_refuses_what_it_does_not_do(desk, flags):
    done = desk.type(f"tx8-quant -mp {desk.model} -s {desk.work} {flags}")

    assert done.returncode == 2
    assert list(desk.work.iterdir()) == []


def test_the_compiler_refuses_a_folder_that_is_no_toolchain(desk):
    done = desk.type(f"bash {desk.places['toolchain']}/scripts/soc_compile.sh /tmp {desk.node()}")

    assert done.returncode == 2
    assert "is not a toolchain_release folder" in done.stderr
