"""Qwen2 and Llama once more, in numpy and double precision: slow, short, and written without a look at the C."""

import numpy as np

from emulator.compiler.quantise import restored
from emulator.models.floats import widened
from emulator.models.weights import SafetensorsFile


def weights(*paths):
    """Every tensor of some files as doubles, int8 ones multiplied out."""
    tensors = {name: tensor for path in paths for name, tensor in SafetensorsFile(path).tensors.items()}
    floats = {name: widened(tensor) for name, tensor in tensors.items() if tensor.dtype != "I8"}
    for name, tensor in tensors.items():
        if tensor.dtype == "I8":
            whole = np.frombuffer(tensor.bytes(), np.int8).reshape(tensor.shape)
            floats[name] = restored(whole, floats.pop(name + ".scale"))
    return {name: values.astype(np.float64) for name, values in floats.items()}


def logits(config, w, ids):
    """Scores after each token of `ids`, one row a token."""
    x = w["model.embed_tokens.weight"][ids]
    for layer in range(config["num_hidden_layers"]):
        at = f"model.layers.{layer}."
        x = x + attention(config, w, at, norm(x, w[at + "input_layernorm.weight"], config))
        y = norm(x, w[at + "post_attention_layernorm.weight"], config)
        gate = linear(w, at + "mlp.gate_proj", y)
        x = x + linear(w, at + "mlp.down_proj", gate / (1 + np.exp(-gate)) * linear(w, at + "mlp.up_proj", y))
    head = w["model.embed_tokens.weight" if config["tie_word_embeddings"] else "lm_head.weight"]
    return norm(x, w["model.norm.weight"], config) @ head.T


def linear(w, name, x):
    return x @ w[name + ".weight"].T + w.get(name + ".bias", 0.0)


def norm(x, weight, config):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + config["rms_norm_eps"]) * weight


def attention(config, w, at, x):
    heads, kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
    size = config.get("head_dim", config["hidden_size"] // heads)

    def projected(letter, count):
        return linear(w, f"{at}self_attn.{letter}_proj", x).reshape(len(x), count, size).transpose(1, 0, 2)

    query, key = (turned(projected(*which), config) for which in (("q", heads), ("k", kv_heads)))
    value = projected("v", kv_heads)
    key, value = (np.repeat(y, heads // kv_heads, axis=0) for y in (key, value))
    scores = query @ key.transpose(0, 2, 1) / np.sqrt(size)
    scores += np.triu(np.full((len(x), len(x)), -np.inf), 1)
    scores = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = (scores / scores.sum(-1, keepdims=True)) @ value
    return linear(w, at + "self_attn.o_proj", mixed.transpose(1, 0, 2).reshape(len(x), -1))


def turned(y, config):
    half = y.shape[-1] // 2
    turns = config["rope_theta"] ** (-np.arange(half) / half)
    angle = np.arange(y.shape[1])[:, None] * stretched(turns, config.get("rope_scaling"))[None, :]
    a, b = y[..., :half], y[..., half:]
    return np.concatenate([a * np.cos(angle) - b * np.sin(angle), b * np.cos(angle) + a * np.sin(angle)], -1)


def stretched(turns, scaling):
    """Frequencies for longer texts, as the Llama 3 papers' code has it: by wavelength."""
    if scaling is None:
        return turns
    if scaling.get("rope_type", scaling.get("type")) == "linear":
        return turns / scaling["factor"]
    length = 2 * np.pi / turns
    longest, shortest = (
        scaling["original_max_position_embeddings"] / scaling[name] for name in ("low_freq_factor", "high_freq_factor")
    )
    between = (scaling["original_max_position_embeddings"] / length - scaling["low_freq_factor"]) / (
        scaling["high_freq_factor"] - scaling["low_freq_factor"]
    )
    smooth = (1 - between) * turns / scaling["factor"] + between * turns
    return np.where(length < shortest, turns, np.where(length > longest, turns / scaling["factor"], smooth))
