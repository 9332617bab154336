"""A model's `config.json`, read as numbers only.

The guide keeps two of them: conversion takes the official one, inference the TX81 one, which adds `param_dir` (where
`kcore.bin` lies). Everything that later appears in C source is checked here as an int or a float within limits: a
config is an untrusted file.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from emulator.models import rope
from emulator.models.architecture import Architecture, architecture
from emulator.models.rope import Rope
from emulator.models.values import flag, integer, positive
from emulator.tool import Refused
from emulator.tree import MAX_SEQUENCE, Family

PARAM_DIR = "param_dir"


@dataclass(frozen=True)
class Dimensions:
    """What makes one model of its architecture; names follow `config.json`."""

    architecture: str
    hidden_size: int
    intermediate_size: int
    num_hidden_layers: int
    num_attention_heads: int
    num_key_value_heads: int
    head_dim: int
    vocab_size: int
    max_sequence: int
    rms_norm_eps: float
    rope: Rope
    tie_word_embeddings: bool
    biases: tuple[str, ...]
    """The linear layers that have a bias, by the symbols of `decoder.py`."""

    @classmethod
    def restored(cls, facts: dict[str, Any]) -> Self:
        """Dimensions that were written as JSON."""
        return cls(**{**facts, "rope": Rope(**facts["rope"]), "biases": tuple(facts["biases"])})


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
    """Refuse a model of another architecture than the type's, and one that the type's environment cannot read."""
    found = architecture(config)
    if found.name != family.architecture:
        raise Refused(f"config.json: architectures is [{found.name!r}], this type takes [{family.architecture!r}]")
    if family is Family.LLAMA2 and rope.read(config).kind == "llama3":
        # The libraries of that environment (4.38) are older than the method.
        raise Refused("config.json: rope_type is 'llama3', which a llama2 type does not know; choose a llama3 type")


def dimensions(config: dict[str, Any]) -> Dimensions:
    """What a config says, each number checked; what the kernels cannot compute is refused by its key."""
    kind = architecture(config)
    _require_plain(config, kind)
    hidden, heads = integer(config, "hidden_size"), integer(config, "num_attention_heads")
    kv_heads = integer(config, "num_key_value_heads", heads)
    head_dim = integer(config, "head_dim", hidden // heads)
    if heads % kv_heads:
        raise Refused(f"config.json: num_key_value_heads {kv_heads} does not divide num_attention_heads {heads}")
    if head_dim % 2 or head_dim == 0:
        raise Refused(f"config.json: head_dim {head_dim} is not an even number above 0")
    flagged = [symbol for key, symbols in kind.flags.items() if flag(config, key) for symbol in symbols]
    return Dimensions(
        architecture=kind.name,
        hidden_size=hidden,
        intermediate_size=integer(config, "intermediate_size"),
        num_hidden_layers=integer(config, "num_hidden_layers", largest=1000),
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        head_dim=head_dim,
        vocab_size=integer(config, "vocab_size"),
        max_sequence=min(MAX_SEQUENCE, integer(config, "max_position_embeddings", MAX_SEQUENCE, largest=1 << 31)),
        rms_norm_eps=positive(config, "rms_norm_eps", 1.0),
        rope=rope.read(config),
        tie_word_embeddings=flag(config, "tie_word_embeddings"),
        biases=(*kind.biased, *flagged),
    )


def require_official(config: dict[str, Any]) -> None:
    """Refuse the TX81 variant where the official config belongs."""
    if PARAM_DIR in config:
        raise Refused(
            "config.json has param_dir: this is the TX81 config for inference, put the official one in its place"
        )


def require_kcore(config: dict[str, Any], kcore_folder: Path, *, chips: int) -> None:
    """Refuse a config that does not lead to `kcore_folder`: the official one, or one made for another kcore."""
    param_dir = config.get(PARAM_DIR)
    if not isinstance(param_dir, str):
        raise Refused("config.json has no param_dir: this is the official config, inference needs the TX81 one")
    named = Path(param_dir).resolve()
    named = named.parent if named.name == "kcore.bin" else named
    if not param_dir or named != kcore_folder.resolve():
        raise Refused(f"config.json: param_dir is {param_dir!r}, but -cd leads to {kcore_folder.resolve()}")
    parallel = config.get("tensor_parallel", {})
    size = parallel.get("parallel_size", chips) if isinstance(parallel, dict) else None
    if size != chips:
        raise Refused(f"config.json: tensor_parallel parallel_size is {size!r}, the kcore is compiled for {chips}")


def _require_plain(config: dict[str, Any], kind: Architecture) -> None:
    for key, value in kind.fixed.items():
        if config.get(key, value) != value:
            raise Refused(f"config.json: {key} is {config[key]!r}, only {value!r} is supported")
