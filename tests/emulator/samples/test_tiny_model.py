"""The shipped tiny model is whole: weights, tokenizer, questions, answers and logits tell one story."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from emulator.samples.tiny.pairs import ASSISTANT, BOS, END_OF_THINK, EOS, THINK, USER, all_pairs, prompt

TINY = Path(__file__).parents[3] / "emulator" / "samples" / "tiny"
MODEL = TINY / "model"
MEGABYTE = 1_000_000


@pytest.fixture(scope="module")
def config():
    return json.loads((MODEL / "config.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def tokenizer():
    return Tokenizer.from_file(str(MODEL / "tokenizer.json"))


@pytest.fixture(scope="module")
def golden():
    lines = (TINY / "golden.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


@pytest.fixture(scope="module")
def questions():
    return (TINY / "quests_v1.txt").read_text(encoding="utf-8").split("\n")[:-1]


@pytest.fixture(scope="module")
def logits():
    with np.load(TINY / "logits.npz", allow_pickle=False) as file:
        return dict(file)


def header_of(weights):
    """The table at the front of a safetensors file, and the number of bytes that follow it."""
    (length,) = struct.unpack("<Q", weights[:8])
    return json.loads(weights[8 : 8 + length]), len(weights) - 8 - length


def shapes_of(config):
    """Every tensor a Qwen2 with tied embeddings holds, by name."""
    hidden, inner = config["hidden_size"], config["intermediate_size"]
    narrow = hidden // config["num_attention_heads"] * config["num_key_value_heads"]
    of_one_layer = {
        "input_layernorm.weight": [hidden],
        "post_attention_layernorm.weight": [hidden],
        "self_attn.q_proj.weight": [hidden, hidden],
        "self_attn.q_proj.bias": [hidden],
        "self_attn.k_proj.weight": [narrow, hidden],
        "self_attn.k_proj.bias": [narrow],
        "self_attn.v_proj.weight": [narrow, hidden],
        "self_attn.v_proj.bias": [narrow],
        "self_attn.o_proj.weight": [hidden, hidden],
        "mlp.gate_proj.weight": [inner, hidden],
        "mlp.up_proj.weight": [inner, hidden],
        "mlp.down_proj.weight": [hidden, inner],
    }
    layers = {
        f"model.layers.{number}.{name}": shape
        for number in range(config["num_hidden_layers"])
        for name, shape in of_one_layer.items()
    }
    return layers | {"model.embed_tokens.weight": [config["vocab_size"], hidden], "model.norm.weight": [hidden]}


def test_the_weights_are_exactly_the_tensors_that_the_config_describes(config):
    header, _ = header_of((MODEL / "model.safetensors").read_bytes())

    tensors = {name: entry for name, entry in header.items() if name != "__metadata__"}

    assert {name: entry["shape"] for name, entry in tensors.items()} == shapes_of(config)
    assert {entry["dtype"] for entry in tensors.values()} == {"BF16"}


def test_the_tensors_fill_the_weight_file_without_gap_or_overlap():
    header, size = header_of((MODEL / "model.safetensors").read_bytes())

    ranges = sorted(entry["data_offsets"] for name, entry in header.items() if name != "__metadata__")

    assert [start for start, _ in ranges] == [0, *(end for _, end in ranges[:-1])]
    assert ranges[-1][1] == size


def test_no_weight_is_infinite_or_not_a_number():
    weights = (MODEL / "model.safetensors").read_bytes()
    _, size = header_of(weights)

    halves = np.frombuffer(weights, dtype="<u2", offset=len(weights) - size)

    exponents = halves & 0x7F80
    assert (exponents != 0x7F80).all()


def test_the_model_folder_is_small_enough_to_live_beside_the_source():
    sizes = [path.stat().st_size for path in MODEL.iterdir()]

    assert sum(sizes) <= MEGABYTE


def test_the_official_config_is_a_qwen2_with_grouped_heads_and_even_head_size(config):
    heads, shared = config["num_attention_heads"], config["num_key_value_heads"]

    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["model_type"] == "qwen2"
    assert config["torch_dtype"] == "bfloat16"
    assert config["max_position_embeddings"] == 8192
    assert config["tie_word_embeddings"] is True
    assert shared < heads
    assert heads % shared == 0
    assert config["hidden_size"] % (2 * heads) == 0


def test_the_card_config_is_the_official_one_and_two_keys(config):
    card = json.loads((TINY / "tx81_config.json").read_text(encoding="utf-8"))

    assert card == config | {
        "param_dir": "",
        "tensor_parallel": {"use_tp": True, "parallel_size": 4},
    }


def test_each_question_is_one_line_and_stands_once(questions):
    assert len(questions) >= 80
    assert len(set(questions)) == len(questions)
    assert all(question == question.strip() != "" for question in questions)
    assert all(len(question.splitlines()) == 1 for question in questions)


def test_a_reader_that_splits_at_universal_newlines_sees_the_same_questions(questions):
    assert (TINY / "quests_v1.txt").read_text(encoding="utf-8").splitlines() == questions


def test_the_golden_answers_stand_in_the_order_of_the_questions(golden, questions):
    assert [pair["question"] for pair in golden] == questions


def test_the_files_hold_the_pairs_that_the_training_script_teaches(golden):
    assert golden == [{"question": pair.question, "answer": pair.answer} for pair in all_pairs()]


def test_every_answer_thinks_first_and_then_replies(golden):
    for pair in golden:
        thought, separator, reply = pair["answer"].partition(f"\n{END_OF_THINK}\n\n")

        assert thought.startswith(f"{THINK}\n")
        assert separator
        assert reply == reply.strip() != ""


def test_questions_and_answers_survive_the_tokenizer(tokenizer, golden):
    for text in [text for pair in golden for text in (pair["question"], pair["answer"])]:
        ids = tokenizer.encode(text).ids

        assert tokenizer.decode(ids, skip_special_tokens=True) == text


def test_text_the_tokenizer_never_saw_survives_it(tokenizer):
    text = "Žluťoučký kůň 🤔 — 量子力学\tΩ≈ç√\r\n  \\0"

    ids = tokenizer.encode(text).ids

    assert tokenizer.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("mark", [BOS, EOS, USER, ASSISTANT, THINK, END_OF_THINK])
def test_a_mark_is_one_token(tokenizer, mark):
    assert tokenizer.encode(mark).ids == [tokenizer.token_to_id(mark)]
    assert tokenizer.encode(f"前{mark}x").tokens.count(mark) == 1


def test_a_prompt_begins_with_one_begin_mark_and_ends_with_the_assistant_mark(tokenizer, questions):
    for question in questions:
        tokens = tokenizer.encode(prompt(question)).tokens

        assert tokens[:2] == [BOS, USER]
        assert tokens[-1] == ASSISTANT
        assert tokens.count(BOS) == 1


def test_the_configs_name_the_same_begin_and_end_as_the_tokenizer(tokenizer, config):
    of_generation = json.loads((MODEL / "generation_config.json").read_text(encoding="utf-8"))
    of_tokenizer = json.loads((MODEL / "tokenizer_config.json").read_text(encoding="utf-8"))

    for named in (config, of_generation):
        assert named["bos_token_id"] == tokenizer.token_to_id(BOS)
        assert named["eos_token_id"] == tokenizer.token_to_id(EOS)
    assert (of_tokenizer["bos_token"], of_tokenizer["eos_token"]) == (BOS, EOS)
    assert config["vocab_size"] == tokenizer.get_vocab_size()


def test_some_answer_needs_several_tokens_for_one_character(tokenizer, golden):
    alone = [
        tokenizer.decode([number], skip_special_tokens=True)
        for pair in golden
        for number in tokenizer.encode(pair["answer"]).ids
    ]

    assert any("\ufffd" in piece for piece in alone)


def test_every_recorded_input_has_one_row_of_logits_a_position(logits, config):
    names = {key.rpartition(".")[0] for key in logits}

    assert len(names) >= 6
    for name in names:
        ids, positions, rows = (logits[f"{name}.{part}"] for part in ("ids", "positions", "logits"))
        assert (ids.dtype, positions.dtype, rows.dtype) == (np.int32, np.int32, np.float32)
        assert rows.shape == (len(positions), config["vocab_size"])
        assert positions[-1] == len(ids) - 1
        assert 0 <= ids.min() <= ids.max() < config["vocab_size"]
        assert np.isfinite(rows).all()


def test_the_recorded_inputs_include_a_long_one(logits):
    longest = max(len(array) for key, array in logits.items() if key.endswith(".ids"))

    assert longest == 300


@pytest.mark.parametrize("name", ["english_prompt", "chinese_prompt"])
def test_a_recorded_prompt_is_a_known_question_and_its_logits_open_the_thought(logits, tokenizer, questions, name):
    ids = logits[f"{name}.ids"].tolist()

    assert ids in [tokenizer.encode(prompt(question)).ids for question in questions]
    assert logits[f"{name}.logits"][-1].argmax() == tokenizer.token_to_id(THINK)


@pytest.mark.parametrize("name", ["chinese_answered", "emoji_answered"])
def test_after_a_whole_answer_the_logits_say_stop(logits, tokenizer, name):
    assert logits[f"{name}.logits"][-1].argmax() == tokenizer.token_to_id(EOS)
