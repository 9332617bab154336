"""The guide's chapters, typed by hand from weights to answers."""

import json
import shutil
import subprocess
import sys

import pytest

from emulator.installation.install import install
from emulator.tree import MODEL_TYPES, Tree
from tests.emulator.builders import as_llama
from tests.emulator.conftest import ROOT
from tests.emulator.desk import INT8


def test_every_step_of_the_guide_succeeds_and_shows_its_progress(built):
    shown = built.shown

    assert {name: done.returncode for name, done in shown.items()} == dict.fromkeys(shown, 0), shown
    assert "layer 2/2" in shown["convert"].stdout
    assert "tensor 1/" in shown["quantise"].stdout
    assert "Building C object layers.c" in shown["compile"].stdout
    assert (built.node() / "kcore.bin").is_file()
    assert json.loads((built.node() / "model_info.json").read_text())["chip_num"] == 4


def test_bf16_answers_every_golden_question_exactly(desk):
    done = desk.offline(gp=desk.places["golden"], bs=1, cn="8..11")

    golden = [json.loads(line) for line in desk.places["golden"].read_text("utf-8").split("\n") if line]
    answers = desk.responses()
    assert done.returncode == 0, done.stderr
    assert [(row["question"], row["response"]) for row in answers] == [
        (row["question"], row["answer"]) for row in golden
    ]
    assert {row["finish_reason"] for row in answers} == {"stop"}
    assert {row["similarity"] for row in answers} == {1.0}
    assert "mean similarity 1.0000" in done.stdout


@pytest.mark.parametrize(
    ("lies", "given"), [("{model}", "{model}"), ("{model}/..", "{model}"), ("{model}", "{model}/{gm}")]
)
def test_int8_answers_every_golden_question_exactly_wherever_the_quantised_file_lies(desk, built, lies, given):
    names = {"model": desk.tx81, "gm": built.gm.name}
    shutil.copytree(built.node(INT8), desk.node(INT8))
    shutil.copy(built.gm, lies.format(**names))
    config = json.loads((desk.tx81 / "config.json").read_text())
    (desk.tx81 / "config.json").write_text(json.dumps(config | {"param_dir": str(desk.node(INT8) / "kcore.bin")}))

    done = desk.offline(mp=given.format(**names), cd=desk.node(INT8), gp=desk.places["golden"])

    assert done.returncode == 0, done.stderr
    assert {row["similarity"] for row in desk.responses()} == {1.0}


@pytest.mark.parametrize("precision", ["bf16", "quant"])
def test_a_llama_3_in_shards_answers_every_golden_question_exactly(desk, precision):
    model = as_llama(desk.model, desk.work / "llama")
    node, gm = desk.node(f"deepseek_llama3_8b_{precision}_32b_c4_2"), ""
    if precision == "quant":
        quantised = desk.type(f"tx8-quant -mp {model} -s {model}")
        assert quantised.returncode == 0, quantised.stderr
        gm = f"--q-model-path {model}/llama_quant_bfloat16.gm"

    converted = desk.convert(
        f"--backend-model-type deepseek_llama3_8b_{precision} --input_model {model} {gm}",
        CONDA_DEFAULT_ENV="tx8_txnn_trans_4.46",
    )
    compiled = desk.compile(node)
    (model / "config.json").write_text((model / "config_tx81.json").read_text().replace('""', json.dumps(str(node))))
    answered = desk.offline(mp=model, cd=node, gp=desk.places["golden"])

    assert (converted.returncode, compiled.returncode, answered.returncode) == (0, 0, 0), answered.stderr
    assert {row["similarity"] for row in desk.responses()} == {1.0}


def test_quantising_barely_moves_the_perplexity_and_says_so(built):
    report = json.loads(built.gm.with_suffix(".ppl.json").read_text())

    assert report["tokens"] > 500
    assert 1.0 < report["ppl_before"] < 1.5
    assert abs(report["ppl_after"] / report["ppl_before"] - 1) < 0.01
    assert f"ppl before {report['ppl_before']:.4f}, after {report['ppl_after']:.4f}" in built.shown["quantise"].stdout


def test_eight_batches_take_all_cards_and_agree_on_every_answer(desk):
    done = desk.offline(pp=desk.ask("Who are you?", "你是谁？"), bs=8, tf="True", rn=2, mt=2048)

    answers = desk.responses()
    assert done.returncode == 0, done.stderr
    assert len(answers) == 8 * 2 * 2
    assert {tuple(row["cards"]) for row in answers} == {tuple(range(at, at + 4)) for at in range(0, 32, 4)}
    assert len({row["response"] for row in answers}) == 2
    assert list(desk.work.glob("TX8_offline_func_batchsize_8_quest_asked_*.log"))


def test_without_traversal_the_questions_are_dealt_out(desk):
    desk.offline(pp=desk.ask("Who are you?", "你是谁？", "What can you do?"), bs=2, tf="False")

    assert sorted((row["batch"], row["question_index"]) for row in desk.responses()) == [(0, 0), (0, 2), (1, 1)]


def test_a_list_of_batch_sizes_runs_one_after_the_other(desk):
    done = desk.offline(pp=desk.ask("Who are you?"), bs="[1,3]")

    assert done.returncode == 0, done.stderr
    assert [event["cards"] for event in desk.events("open")] == [
        [0, 1, 2, 3],
        *([4 * at + c for c in range(4)] for at in range(3)),
    ]


def test_batch_size_overrides_the_listed_cards_with_a_warning(desk):
    done = desk.offline(pp=desk.ask("Who are you?"), bs=2, cn="8..11")

    assert "warning: --batch-size 2 overrides --card-num 8..11: taking cards 8..11,0..3" in done.stderr
    assert {row["group"] for row in desk.responses()} == {0, 2}


def test_the_examples_spelling_of_max_tokens_is_known_beside_the_tables(desk):
    done = desk.offline(pp=desk.ask("Who are you?"), **{"-max-token": 5})

    assert done.returncode == 0, done.stderr
    assert desk.responses()[0]["output_tokens"] == 5


def test_max_tokens_cuts_an_answer_short(desk):
    desk.offline(pp=desk.ask("Who are you?"), mt=5)

    (answer,) = desk.responses()
    assert (answer["output_tokens"], answer["finish_reason"]) == (5, "length")
    assert 0 < answer["ttft_seconds"] <= answer["seconds"]


def test_the_device_log_goes_to_its_folder(desk):
    done = desk.offline(pp=desk.ask("Who are you?"), lp="txda", cn="4,5,6,7")

    (log,) = (desk.work / "txda").iterdir()
    assert "cards 4..7 opened" in log.read_text()
    assert "[TXDA][INFO]" not in done.stdout


def test_the_driver_installer_brings_up_32_cards_and_may_run_again(desk):
    shutil.rmtree(desk.home / "dev")

    first = desk.type(f"{desk.places['driver']} install silicon")
    second = desk.type(f"cd {desk.home} && ./{desk.places['driver'].name} install silicon")

    assert (first.returncode, second.returncode) == (0, 0)
    assert "32 devices ready" in first.stdout
    assert sorted(path.name for path in desk.places["cards"].iterdir()) == sorted(f"dev-{n}" for n in range(32))


def test_installing_again_keeps_events_and_output(desk):
    desk.offline(pp=desk.ask("Who are you?"))
    before = desk.events()

    command = [sys.executable, "-m", "emulator", "install", str(desk.home), "--no-driver"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout.splitlines()[-1])["home"] == str(desk.home)
    assert before
    assert desk.events() == before
    assert (desk.node() / "kcore.bin").is_file()


def test_installing_refuses_a_folder_that_holds_something_else(tmp_path):
    (tmp_path / "thesis.doc").write_text("years of work")

    command = [sys.executable, "-m", "emulator", "install", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.doc"]


@pytest.mark.parametrize("python", ["/usr/bin/env python3", "../../../miniconda/envs/tx8_txnn/bin/python"])
def test_the_scripts_run_under_any_python(desk, python):
    done = desk.type(f"{python} offline_auto_test.py --help", cwd=desk.places["infer"])

    assert done.returncode == 0, done.stderr
    assert "--txda-log-path" in done.stdout


def test_the_guides_misspelt_converter_is_the_converter(desk):
    done = desk.type(
        f"source toolchain_release/scripts/env_set.sh; python convert_weigth.py --backend_model_type qwen2_7b_bf16 "
        f"--input-model {desk.model}",
        cwd=desk.places["convert"],
    )

    assert done.returncode == 0, done.stderr
    assert not (desk.node() / "kcore.bin").exists()


def test_the_root_variable_leads_the_tools_to_another_tree(desk, tmp_path):
    other = Tree(tmp_path / "other")
    install(other, with_driver=False)

    done = desk.type(f"{desk.places['driver']} install silicon", TX81_EMULATOR_ROOT=str(other.home))

    assert done.returncode == 0, done.stderr
    assert other.card(31).exists()


def test_the_guides_fourteen_types_are_known_with_the_folders_it_shows():
    assert len(MODEL_TYPES) == 14
    assert MODEL_TYPES["qwen2_7b_bf16"].folder == "deepseek_qwen2_7b_bf16_28b_c4_2"
    assert MODEL_TYPES["qwen2_7b_quant"].folder == "deepseek_qwen2_7b_quant_28b_c4_2"
