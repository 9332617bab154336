"""The supported model architectures, as data: only the differences between them.

Both are the same decoder (RMSNorm, rotary positions, grouped heads, SiLU gate). Qwen2 always adds a bias to query, key
and value; Llama adds one if its config requires it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from emulator.tool import Refused


@dataclass(frozen=True)
class Architecture:
    """One value of `architectures` in `config.json`."""

    name: str
    biased: tuple[str, ...] = ()
    """Linear layers that always have a bias, by the symbols of `decoder.py`."""
    flags: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys of the config that, where true, give these linear layers a bias."""
    fixed: Mapping[str, object] = field(default_factory=dict)
    """Keys of the config whose other values the kernels cannot compute."""


_ALL = {"hidden_act": "silu", "quantization_config": None, "partial_rotary_factor": 1.0}
QWEN2 = Architecture("Qwen2ForCausalLM", biased=("Q", "K", "V"), fixed={**_ALL, "use_sliding_window": False})
LLAMA = Architecture(
    "LlamaForCausalLM",
    flags={"attention_bias": ("Q", "K", "V", "O"), "mlp_bias": ("GATE", "UP", "DOWN")},
    fixed=_ALL,
)
ARCHITECTURES = {known.name: known for known in (QWEN2, LLAMA)}


def architecture(config: Mapping[str, Any]) -> Architecture:
    """The one that a config names; another one is refused."""
    named = config.get("architectures")
    for name, known in ARCHITECTURES.items():
        if named == [name]:
            return known
    raise Refused(f"config.json: architectures is {named!r}, known are {', '.join(ARCHITECTURES)}")
