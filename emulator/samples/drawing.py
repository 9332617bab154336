"""Models of random weights, of any size: for load, memory and scheduling tests.

They produce meaningless text up to the length limit, and their perplexity means nothing. Weights are drawn and written
in pieces, so memory stays at some megabytes whatever the size. They use the shipped model's tokenizer, with its marks.
"""

import json
import math
import shutil
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

from emulator.models.config import dimensions
from emulator.models.decoder import Slot, slots
from emulator.models.floats import to_bfloat16
from emulator.models.weights import INDEX, SINGLE, Planned, write
from emulator.samples.shipped import SHIPPED
from emulator.tool import Refused, say

FAMILIES: Mapping[str, Mapping[str, object]] = {
    "qwen2": {"architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "use_sliding_window": False},
    "llama": {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "attention_bias": False, "mlp_bias": False},
}
DTYPES = {"bf16": ("BF16", "bfloat16"), "f16": ("F16", "float16"), "f32": ("F32", "float32")}
"""By the name on the command line: what safetensors calls it, and what torch does."""
_HEAD = 64
_PIECE = 1 << 20
"""Values that are drawn at a time."""
_KEPT = (
    "bos_token_id",
    "eos_token_id",
    "hidden_act",
    "max_position_embeddings",
    "rms_norm_eps",
    "rope_theta",
    "vocab_size",
)
"""What a random model's config has from the shipped one's."""


def shape(family: str, params: int, layers: int | None, dtype: str) -> dict[str, Any]:
    """The config of a model with about that many parameters: well-proportioned, unless `layers` says otherwise."""
    shipped = json.loads((SHIPPED / "model" / "config.json").read_text("utf-8"))
    # Published models are some 64 times as wide as deep, and a layer has some 12 parameters for a pair of its width.
    depth = layers or max(1, round((params / (12 * _HEAD**2)) ** (1 / 3)))
    heads = max(1, round(math.sqrt(params / (12 * depth)) / _HEAD))
    shared = next(count for count in range(max(1, heads // 4), 0, -1) if heads % count == 0)
    config = {
        **FAMILIES[family],
        **{key: shipped[key] for key in _KEPT},
        "hidden_size": heads * _HEAD,
        "intermediate_size": 1,
        "num_hidden_layers": depth,
        "num_attention_heads": heads,
        "num_key_value_heads": shared,
        "tie_word_embeddings": True,
        "torch_dtype": DTYPES[dtype][1],
    }
    missing = params - _count(config)
    config["intermediate_size"] = max(32, round(missing / (3 * depth * heads * _HEAD) / 32) * 32)
    if not 0.75 < _count(config) / params < 1.25:
        raise Refused(f"--layers {depth}: {params} parameters cannot be spread over so many; give fewer, or none")
    return config


def _count(config: dict[str, Any]) -> int:
    return sum(math.prod(slot.shape) for slot in slots(dimensions(config)))


def draw(folder: Path, config: dict[str, Any], dtype: str, *, shards: int, seed: int) -> None:
    """Write the whole model; the same seed gives the same weights."""
    listed = slots(dimensions(config))
    say(f"{_count(config)} parameters, {config['num_hidden_layers']} layers, hidden size {config['hidden_size']}")
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        shutil.copyfile(SHIPPED / "model" / name, folder / name)
    rng, parts = np.random.Generator(np.random.PCG64(seed)), _parts(listed, shards)
    places: dict[str, str] = {}
    for number, part in enumerate(parts, 1):
        name = SINGLE if len(parts) == 1 else f"model-{number:05}-of-{len(parts):05}.safetensors"
        plan = [Planned(slot.name, DTYPES[dtype][0], slot.shape) for slot in part]
        say(f"file {number}/{len(parts)} {name}, {sum(planned.size for planned in plan)} bytes")
        write(folder / name, plan, (_pieces(slot, dtype, rng) for slot in part), {"format": "pt"})
        places |= {slot.name: name for slot in part}
    if len(parts) > 1:
        (folder / INDEX).write_text(json.dumps({"metadata": {}, "weight_map": places}, indent=1) + "\n", "utf-8")
    # Last: a folder without a config is no model yet.
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")


def _parts(listed: Sequence[Slot], count: int) -> list[list[Slot]]:
    """The tensors in order, cut where each part has about the same size; as many parts as that gives, `count` at
    most."""
    sizes = [math.prod(slot.shape) for slot in listed]
    total, at = sum(sizes), 0
    cut: list[tuple[int, Slot]] = []
    for slot, size in zip(listed, sizes, strict=True):
        cut.append((at * count // total, slot))
        at += size
    return [[slot for _, slot in part] for _, part in groupby(cut, key=lambda pair: pair[0])]


def _pieces(slot: Slot, dtype: str, rng: np.random.Generator) -> Iterator[bytes]:
    """One tensor: of a size that keeps activations near one, norms near one."""
    centre = 1.0 if "norm" in slot.name else 0.0
    spread = 0.02 if len(slot.shape) == 1 else 1 / math.sqrt(slot.shape[-1])
    left = math.prod(slot.shape)
    while left:
        values = rng.standard_normal(min(left, _PIECE), np.float32) * np.float32(spread) + np.float32(centre)
        left -= len(values)
        yield (to_bfloat16(values) if dtype == "bf16" else values.astype({"f16": "f2", "f32": "f4"}[dtype])).tobytes()
