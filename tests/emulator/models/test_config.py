"""A config is a stranger's file: only numbers within limits come out of it."""

import json
import re

import pytest

from emulator.compiler import codegen
from emulator.models import config
from emulator.models.weights import open_model
from emulator.tool import Refused
from emulator.tree import Family, Precision
from tests.emulator.builders import CONFIG, LLAMA, a_model
from tests.emulator.kinds import STRETCHED

HOSTILE = '64\n#include "/etc/passwd"'


@pytest.mark.parametrize("key", ["hidden_size", "intermediate_size", "num_hidden_layers", "vocab_size", "head_dim"])
@pytest.mark.parametrize("value", [HOSTILE, "64", 0, -1, 64.0, True, 10**12, float("nan"), [64]])
def test_a_size_that_is_no_reasonable_integer_is_refused_by_its_key(key, value):
    with pytest.raises(Refused, match=key):
        config.dimensions(CONFIG | {key: value})


@pytest.mark.parametrize("key", ["rms_norm_eps", "rope_theta"])
@pytest.mark.parametrize("value", [HOSTILE, "1e-6", 0, -1.0, float("nan"), float("inf"), None, False])
def test_a_factor_that_is_no_positive_number_is_refused_by_its_key(key, value):
    with pytest.raises(Refused, match=key):
        config.dimensions(CONFIG | {key: value})


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_act": "gelu"},
        {"use_sliding_window": True},
        {"rope_scaling": {"type": "yarn"}},
        {"tie_word_embeddings": "yes"},
        {"num_key_value_heads": 3},
        {"head_dim": 7},
        {"rope_parameters": {"rope_type": "yarn", "rope_theta": 1e4}},
        {"rope_scaling": "linear"},
        {"rope_scaling": {"type": "linear"}},
        {"rope_scaling": {"type": "linear", "factor": HOSTILE}},
        {"rope_scaling": STRETCHED | {"low_freq_factor": 4.0}},
        {"rope_scaling": STRETCHED | {"original_max_position_embeddings": None}},
        {"architectures": ["LlamaForCausalLM"], "attention_bias": "yes"},
        {"architectures": ["LlamaForCausalLM"], "mlp_bias": 1},
        {"architectures": ["MistralForCausalLM"]},
    ],
)
def test_a_model_the_kernels_cannot_compute_is_refused_by_its_key(change):
    with pytest.raises(Refused, match=r"^config\.json: "):
        config.dimensions(CONFIG | change)


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\udcff"])
def test_a_config_that_is_no_json_object_is_refused(tmp_path, text):
    (tmp_path / "config.json").write_text(text, "utf-8", "surrogateescape")

    with pytest.raises(Refused, match=r"config\.json"):
        config.read(tmp_path)


def test_rope_theta_is_found_where_newer_configs_keep_it():
    moved = {key: value for key, value in CONFIG.items() if key != "rope_theta"}

    found = config.dimensions(moved | {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}})

    assert found.rope.theta == 5e5


def test_stretched_positions_are_the_same_in_the_older_and_the_newer_spelling():
    older = config.dimensions(LLAMA | {"rope_scaling": STRETCHED})

    newer = config.dimensions(LLAMA | {"rope_parameters": STRETCHED | {"rope_theta": LLAMA["rope_theta"]}})

    assert older.rope.kind == "llama3"
    assert newer == older


def test_a_llama_config_without_rope_theta_has_the_first_llamas():
    old = {key: value for key, value in LLAMA.items() if key != "rope_theta"}

    assert config.dimensions(old).rope.theta == 10_000.0


def test_a_llama2_type_does_not_know_what_came_with_llama_3():
    stretched = LLAMA | {"rope_scaling": STRETCHED}

    config.require_family(stretched, Family.LLAMA3)
    with pytest.raises(Refused, match="choose a llama3 type"):
        config.require_family(stretched, Family.LLAMA2)


def test_nothing_of_a_files_name_reaches_the_c_source_as_text(tmp_path):
    model, node = a_model(tmp_path / "model"), tmp_path / "node"
    node.mkdir()
    plan = codegen.plan(
        "qwen2_7b_bf16", Precision.FLOAT, config.dimensions(config.read(model)), open_model(model), 'x"; system("id'
    )

    codegen.emit(plan, node, lambda layer: False)

    source = "".join(path.read_text() for path in node.glob("*.[ch]"))
    assert "system" not in source
    assert json.loads((node / "manifest.json").read_text())["weights"] == 'x"; system("id'
    assert re.search(r"manifest_text\[\] = \{[\d,]+\};", (node / "manifest.h").read_text())
