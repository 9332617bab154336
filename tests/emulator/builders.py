"""Small models made of random numbers, and the tokenizer they talk with."""

import json
import shutil

import numpy as np
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from emulator.models.weights import Planned, open_model, write

MARKS = ["<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>"]
CONFIG = {
    "architectures": ["Qwen2ForCausalLM"],
    "model_type": "qwen2",
    "hidden_act": "silu",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 272,
    "rms_norm_eps": 1e-6,
    "rope_theta": 10000.0,
    "max_position_embeddings": 32768,
    "tie_word_embeddings": False,
    "use_sliding_window": False,
}
LLAMA = CONFIG | {"architectures": ["LlamaForCausalLM"], "model_type": "llama"}
QUESTIONS = ["What is two plus two?", "法国的首都是哪里？", "Who are you?"]


def a_model(folder, *, dtype="BF16", seed=0, shards=1, like=CONFIG, **changes):
    """A Hugging Face folder with random weights in one file or in shards; `changes` go into its config."""
    config = like | changes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    tokenizer().save(str(folder / "tokenizer.json"))
    plan = [Planned(name, dtype, shape) for name, shape in shapes(config)]
    bits = np.random.PCG64(seed)
    drawn = [[values(bits, tensor)] for tensor in plan]
    if shards == 1:
        write(folder / "model.safetensors", plan, drawn, {"format": "pt"})
        return folder
    sharded(folder, plan, drawn, shards)
    return folder


def tokenizer():
    """Bytes and the four marks: enough to say anything."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    made = Tokenizer(models.BPE(vocab={letter: at for at, letter in enumerate(alphabet)}, merges=[]))
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(mark, special=True, normalized=False) for mark in MARKS])
    return made


def shapes(config):
    """Name and shape of every tensor of a checkpoint."""
    hidden, inter = config["hidden_size"], config["intermediate_size"]
    head = config.get("head_dim", hidden // config["num_attention_heads"])
    queries, keys = config["num_attention_heads"] * head, config["num_key_value_heads"] * head
    qwen2 = config["model_type"] == "qwen2"
    biased = "qkv" if qwen2 else "qkvo" if config.get("attention_bias") else ""
    yield "model.embed_tokens.weight", (config["vocab_size"], hidden)
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", (hidden,)
        yield at + "post_attention_layernorm.weight", (hidden,)
        for letter, shape in (("q", (queries, hidden)), ("k", (keys, hidden)), ("v", (keys, hidden)),
                              ("o", (hidden, queries))):  # fmt: skip
            yield f"{at}self_attn.{letter}_proj.weight", shape
            if letter in biased:
                yield f"{at}self_attn.{letter}_proj.bias", shape[:1]
        for name, shape in (("gate", (inter, hidden)), ("up", (inter, hidden)), ("down", (hidden, inter))):
            yield f"{at}mlp.{name}_proj.weight", shape
            if not qwen2 and config.get("mlp_bias"):
                yield f"{at}mlp.{name}_proj.bias", shape[:1]
    yield "model.norm.weight", (hidden,)
    if not config["tie_word_embeddings"]:
        yield "lm_head.weight", (config["vocab_size"], hidden)


def values(bits, planned):
    """Random values whose size keeps the activations near one; norms near one. Made of raw bits alone, which numpy
    promises to keep the same: recorded logits depend on them."""
    spread = 0.1 if len(planned.shape) == 1 else 1.5 / np.sqrt(planned.shape[-1])
    centre = 1.0 if "norm" in planned.name else 0.0
    uniform = bits.random_raw(int(np.prod(planned.shape))).astype(np.float64) / 2.0**64 - 0.5
    drawn = (centre + spread * np.sqrt(12) * uniform).astype(np.float32).reshape(planned.shape)
    if planned.dtype == "BF16":
        return (drawn.view(np.uint32) >> 16).astype(np.uint16).tobytes()
    return drawn.astype({"F16": np.float16, "F32": np.float32}[planned.dtype]).tobytes()


def shipped(folder):
    """A folder like the package's own small model, with random weights."""
    a_model(folder / "model")
    config = CONFIG | {"param_dir": "", "tensor_parallel": {"use_tp": True, "parallel_size": 4}}
    (folder / "tx81_config.json").write_text(json.dumps(config), "utf-8")
    (folder / "quests_v1.txt").write_text("\n".join(QUESTIONS) + "\n", "utf-8")
    rows = [json.dumps({"question": ask, "answer": "four"}, ensure_ascii=False) for ask in QUESTIONS]
    (folder / "golden.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    return folder


def as_llama(model, folder, *, shards=2):
    """The same Qwen2 model as a Llama: one with biases, of which those that Qwen2 lacks are zero."""
    config = json.loads((model / "config.json").read_text())
    config |= {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": True}
    shutil.copytree(model, folder, ignore=shutil.ignore_patterns("*.safetensors", "config*.json"))
    adapted = config | {"param_dir": "", "tensor_parallel": {"use_tp": True, "parallel_size": 4}}
    for name, facts in (("config.json", config), ("config_tx81.json", adapted)):
        (folder / name).write_text(json.dumps(facts))
    known = open_model(model)
    plan = [Planned(name, "BF16", shape) for name, shape in shapes(config)]
    data = [[known[tensor.name].bytes() if tensor.name in known else bytes(tensor.size)] for tensor in plan]
    sharded(folder, plan, data, shards)
    return folder


def sharded(folder, plan, data, shards):
    """The weights in that many files, dealt out, and the index."""
    places = {}
    for shard in range(shards):
        name = f"model-{shard + 1:05}-of-{shards:05}.safetensors"
        write(folder / name, plan[shard::shards], data[shard::shards], {"format": "pt"})
        places |= {tensor.name: name for tensor in plan[shard::shards]}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": places}))
