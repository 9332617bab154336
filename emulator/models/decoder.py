"""The parts of a decoder: its tensors in binding order, and the errors of tensors that do not fit."""

from collections.abc import Mapping
from dataclasses import dataclass

from emulator.models.config import Dimensions
from emulator.models.weights import SIZES, Tensor
from emulator.tool import Refused

QUANT_GROUP = 32
"""Inputs that share one scale in an int8 row; the same number stands in kernels.h."""
MODULES = {
    "Q": "self_attn.q_proj", "K": "self_attn.k_proj", "V": "self_attn.v_proj", "O": "self_attn.o_proj",
    "GATE": "mlp.gate_proj", "UP": "mlp.up_proj", "DOWN": "mlp.down_proj",
}  # fmt: skip
"""The linear layers of one decoder layer: their symbol in C, their name in a checkpoint."""


@dataclass(frozen=True)
class Slot:
    """One tensor the compiled node asks for."""

    symbol: str
    name: str
    shape: tuple[int, ...]
    linear: bool = False
    """Taken as int8 by the quantiser; embedding, output head, norms and biases never are."""


def slots(dims: Dimensions) -> list[Slot]:
    """Every tensor of the model, in the order in which their pointers are handed over."""
    hidden = dims.hidden_size
    listed = [Slot("EMBEDDING", "model.embed_tokens.weight", (dims.vocab_size, hidden))]
    for layer in range(dims.num_hidden_layers):
        listed += _layer_slots(dims, layer)
    listed.append(Slot("FINAL_NORM", "model.norm.weight", (hidden,)))
    if not dims.tie_word_embeddings:
        listed.append(Slot("OUTPUT_HEAD", "lm_head.weight", (dims.vocab_size, hidden)))
    return listed


def _layer_slots(dims: Dimensions, layer: int) -> list[Slot]:
    hidden, at, name = dims.hidden_size, f"L{layer}_", f"model.layers.{layer}."
    listed = [
        Slot(f"{at}INPUT_NORM", f"{name}input_layernorm.weight", (hidden,)),
        Slot(f"{at}POST_NORM", f"{name}post_attention_layernorm.weight", (hidden,)),
    ]
    for symbol, shape in _shapes(dims).items():
        module = name + MODULES[symbol]
        listed.append(Slot(at + symbol, f"{module}.weight", shape, linear=True))
        if symbol in dims.biases:
            listed.append(Slot(f"{at}{symbol}_BIAS", f"{module}.bias", shape[:1]))
    return listed


def _shapes(dims: Dimensions) -> dict[str, tuple[int, int]]:
    hidden, inter = dims.hidden_size, dims.intermediate_size
    queries, keys = dims.num_attention_heads * dims.head_dim, dims.num_key_value_heads * dims.head_dim
    return {
        "Q": (queries, hidden), "K": (keys, hidden), "V": (keys, hidden), "O": (hidden, queries),
        "GATE": (inter, hidden), "UP": (inter, hidden), "DOWN": (hidden, inter),
    }  # fmt: skip


def scale_name(name: str) -> str:
    """The tensor that holds the scales of an int8 one."""
    return name + ".scale"


def scale_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """One scale a row and group of inputs."""
    rows, cols = shape
    return rows, -(-cols // QUANT_GROUP)


def check(wanted: Slot, tensors: Mapping[str, Tensor], *, int8: bool) -> Tensor:
    """The tensor for a slot, or a refusal that names what is wrong with it."""
    tensor = tensors.get(wanted.name)
    if tensor is None:
        raise Refused(f"weights: {wanted.name} is missing")
    if tensor.shape != wanted.shape:
        raise Refused(f"weights: {wanted.name} is {list(tensor.shape)}, wanted {list(wanted.shape)}")
    fits = tensor.dtype == "I8" if int8 and wanted.linear else tensor.dtype in SIZES and tensor.dtype != "I8"
    if not fits:
        raise Refused(f"weights: {wanted.name} is {tensor.dtype}, wanted {'I8' if int8 else 'BF16, F16 or F32'}")
    if tensor.dtype == "I8":
        scale = tensors.get(scale_name(wanted.name))
        if scale is None or scale.dtype != "F32" or scale.shape != scale_shape(wanted.shape):
            raise Refused(f"weights: {scale_name(wanted.name)} is missing or not F32 {list(scale_shape(wanted.shape))}")
    return tensor
