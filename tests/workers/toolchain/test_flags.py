"""Reading the help of a tool; the layouts are those of argparse, absl and the vendor's guide."""

import pytest

from orchestrator.model.profile import KindProfile
from orchestrator.model.release_checks import Level
from workers.toolchain.flags import compare, offered, values_of

HELP = """\
usage: offline_auto_test.py [-h] -mp MODEL_PATH
                            [-cn CARD_NUM] [--trace]

模型推理

options:
  -h, --help            show this help message and exit
  -mp MODEL_PATH, --model-path MODEL_PATH
                        weights; see also --not-a-flag
  -cn CARD_NUM, --card-num CARD_NUM
                        卡数, e.g. -cn 0..3
  --input-model PATH    official weights
  --q-model-path=PATH   quantised weights
  --backend-model-type TYPE
                        one of [“qwen2_7b_bf16”,"qwen2_7b_quant",
                        llama2_7b_fp16 ]
  -tf {True,False}
"""


def a_kind(*argv: str, program: str = "tool.py", **more) -> KindProfile:
    facts = {"conda": "e", "cwd": "/", "outputs": {}, "limits": {"run_seconds": 1, "silence_seconds": 1}}
    return KindProfile.model_validate({**facts, "argv": argv, "help": ["python", program, "--help"], **more})


def findings(kind, said=HELP, types=("qwen2_7b_bf16", "qwen2_7b_quant", "llama2_7b_fp16")):
    return [(finding.level, finding.detail) for finding in compare("infer", kind, said, types)]


def errors(*args, **more):
    return [detail for level, detail in findings(*args, **more) if level is Level.ERROR]


def test_a_flag_is_offered_by_the_usage_or_by_an_entry_and_not_by_a_description():
    assert offered(HELP) == {
        "-h", "--help", "-mp", "--model-path", "-cn", "--card-num", "--trace", "--input-model", "--q-model-path",
        "--backend-model-type", "-tf",
    }  # fmt: skip


def test_a_tool_that_knows_every_flag_of_the_profile_is_fine():
    kind = a_kind("python", "tool.py", "-mp", "{model}", "--q-model-path={gm}", optional={"golden": ["-tf", "True"]})

    assert findings(kind)[0] == (Level.OK, "its help knows -mp, --q-model-path, -tf")


def test_a_flag_that_the_tool_does_not_know_is_an_error_with_what_comes_nearest():
    kind = a_kind("python", "tool.py", "--input_model", "{model}", "-zz", "1")

    assert errors(kind) == [
        "the profile uses --input_model, but its help has --input-model",
        "the profile uses -zz, which its help does not know",
    ]


def test_flags_of_a_shell_before_the_tool_and_values_are_nobodys_flags():
    kind = a_kind("bash", "-c", 'exec "$@"', "--norc", "python", "tool.py", "-mp", "-1", "-0.5")

    assert errors(kind) == []


def test_what_the_profile_does_not_use_is_noted_once_an_option():
    kind = a_kind("python", "tool.py", "--model-path", "{model}", "-cn", "{cards}", "-tf", "True")

    assert (Level.NOTE, "also offers --backend-model-type, --input-model, --q-model-path") in findings(kind)


@pytest.mark.parametrize("said", ["", "Traceback: No module named torch"])
def test_a_help_without_flags_is_an_error(said):
    assert errors(a_kind("python", "tool.py", "-mp", "x"), said=said) == ["its help names no flags"]


def test_listed_values_are_read_without_their_quotes():
    assert values_of("--backend-model-type", HELP) == ["qwen2_7b_bf16", "qwen2_7b_quant", "llama2_7b_fp16"]
    assert values_of("-tf", HELP) == ["True", "False"]
    assert values_of("--model-path", HELP) == []


def test_backend_types_are_compared_with_the_listed_values():
    kind = a_kind("python", "tool.py", "--backend-model-type", "{backend_type}")

    found = findings(kind, types=("qwen2_7b_bf16", "qwen3_8b"))

    assert (Level.ERROR, "the profile's backend type qwen3_8b is none of --backend-model-type") in found
    assert any(level is Level.NOTE and "also takes llama2_7b_fp16, qwen2_7b_quant" in detail for level, detail in found)


def test_a_help_that_lists_no_backend_types_is_noted():
    kind = a_kind("python", "tool.py", "--model-path", "{backend_type}")

    assert (Level.NOTE, "its help does not list the values of --model-path") in findings(kind)
