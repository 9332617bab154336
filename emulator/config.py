"""A model's `config.json`, read as numbers only.

The guide keeps two of them: conversion takes the official one, inference the TX81 one, which adds `param_dir` (where
`kcore.bin` lies). Everything that later appears in C source passes through here as an int or a float within limits: a
config is a stranger's file.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emulator.tool import Refused
from emulator.tree import GROUP, MAX_SEQUENCE, Family

PARAM_DIR = "param_dir"
_LARGEST = 1 << 20


@dataclass(frozen=True)
class Dimensions:
    """The numbers that make one Qwen2 model; names follow `config.json`."""

    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_sequence: int
    rms_norm_eps: float
    rope_theta: float
    tie_word_embeddings: bool


def read(folder: Path) -> dict[str, Any]:
    """The folder's `config.json` as it stands."""
    path = folder / "config.json"
    try:
        config = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise Refused(f"{path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Refused(f"{path}: not JSON: {error}") from None
    if not isinstance(config, dict):
        raise Refused(f"{path}: not a JSON object")
    return config


def require_family(config: dict[str, Any], family: Family) -> None:
    """Refuse a model of another architecture than the type's, and one this build has no code for."""
    if family is not Family.QWEN2:
        raise Refused("Llama family is not in this build; choose a qwen2 type")
    if config.get("architectures") != [family.value]:
        raise Refused(
            f"config.json: architectures is {config.get('architectures')!r}, this type takes [{family.value!r}]"
        )


def dimensions(config: dict[str, Any]) -> Dimensions:
    """The numbers of a Qwen2 config, each checked; what the kernels cannot compute is refused by its key."""
    _require_plain_qwen2(config)
    hidden, heads = _integer(config, "hidden_size"), _integer(config, "num_attention_heads")
    kv_heads = _integer(config, "num_key_value_heads", heads)
    head_dim = _integer(config, "head_dim", hidden // heads)
    if heads % kv_heads:
        raise Refused(f"config.json: num_key_value_heads {kv_heads} does not divide num_attention_heads {heads}")
    if head_dim % 2 or head_dim == 0:
        raise Refused(f"config.json: head_dim {head_dim} is not an even number above 0")
    return Dimensions(
        hidden_size=hidden,
        intermediate_size=_integer(config, "intermediate_size"),
        num_hidden_layers=_integer(config, "num_hidden_layers", largest=1000),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=_integer(config, "vocab_size"),
        max_sequence=min(MAX_SEQUENCE, _integer(config, "max_position_embeddings", MAX_SEQUENCE, largest=1 << 31)),
        rms_norm_eps=_positive(config, "rms_norm_eps", 1.0),
        rope_theta=_rope_theta(config),
        tie_word_embeddings=_flag(config, "tie_word_embeddings"),
    )


def require_official(config: dict[str, Any]) -> None:
    """Refuse the TX81 variant where the official config belongs."""
    if PARAM_DIR in config:
        raise Refused(
            "config.json has param_dir: this is the TX81 config for inference, put the official one in its place"
        )


def require_kcore(config: dict[str, Any], kcore_folder: Path) -> None:
    """Refuse a config that does not lead to `kcore_folder`: the official one, or one made for another kcore."""
    param_dir = config.get(PARAM_DIR)
    if not isinstance(param_dir, str):
        raise Refused("config.json has no param_dir: this is the official config, inference needs the TX81 one")
    named = Path(param_dir).resolve()
    named = named.parent if named.name == "kcore.bin" else named
    if not param_dir or named != kcore_folder.resolve():
        raise Refused(f"config.json: param_dir is {param_dir!r}, but -cd leads to {kcore_folder.resolve()}")
    parallel = config.get("tensor_parallel", {})
    size = parallel.get("parallel_size", GROUP) if isinstance(parallel, dict) else None
    if size != GROUP:
        raise Refused(f"config.json: tensor_parallel parallel_size is {size!r}, the kcore is compiled for {GROUP}")


def _require_plain_qwen2(config: dict[str, Any]) -> None:
    known = {"hidden_act": "silu", "use_sliding_window": False, "rope_scaling": None, "quantization_config": None}
    for key, value in known.items():
        if config.get(key, value) != value:
            raise Refused(f"config.json: {key} is {config[key]!r}, only {value!r} is supported")


def _integer(config: dict[str, Any], key: str, default: int | None = None, *, largest: int = _LARGEST) -> int:
    value = default if config.get(key) is None else config[key]
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= largest:
        raise Refused(f"config.json: {key} is {value!r}, not an integer from 1 to {largest}")
    return value


def _positive(config: dict[str, Any], key: str, largest: float) -> float:
    value = config.get(key)
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if not 1e-30 <= number <= largest:
        raise Refused(f"config.json: {key} is {value!r}, not a number above 0 and up to {largest:g}")
    return number


def _rope_theta(config: dict[str, Any]) -> float:
    """Newer configs keep it in `rope_parameters`."""
    nested = config.get("rope_parameters")
    if not isinstance(nested, dict):
        return _positive(config, "rope_theta", 1e12)
    if nested.get("rope_type", "default") != "default":
        raise Refused(f"config.json: rope_type is {nested['rope_type']!r}, only 'default' is supported")
    return _positive(nested, "rope_theta", 1e12)


def _flag(config: dict[str, Any], key: str) -> bool:
    value = config.get(key, False)
    if not isinstance(value, bool):
        raise Refused(f"config.json: {key} is {value!r}, not true or false")
    return value
