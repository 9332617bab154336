"""From a checked model to the C source of one node.

| file | content |
|---|---|
| model.h | the dimensions, as numbers |
| weights.h | the tensors in binding order: name, dtype, shape |
| layers.c | one function per layer |
| manifest.h, manifest.json | what the kcore was made from; embedded in `kcore.bin` as bytes, and readable next to it |
| main.c node.c node.h kernels.c kernels.h | fixed text, the same for every model |

The manifest is written last: source without one is an unfinished conversion.
"""

import hashlib
import json
import shutil
import struct
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from emulator.compiler import layers
from emulator.engine.image import FORMAT, MANIFEST
from emulator.models import decoder
from emulator.models.config import Dimensions
from emulator.models.weights import Tensor
from emulator.tree import GROUP, Precision

FIXED = Path(__file__).parent / "csource"


@dataclass(frozen=True)
class Plan:
    """Everything that decides the generated source."""

    model_type: str
    precision: Precision
    dims: Dimensions
    tensors: tuple[tuple[decoder.Slot, str], ...]
    """Each slot with the dtype found for it."""
    weights: str
    """The file the weights were read from: `model.safetensors`, or the name of the `.gm`."""
    chips: int = GROUP
    """How many cards it is for."""

    def manifest(self) -> dict[str, Any]:
        """What inference needs to recognise the right weights, as JSON."""
        tensors = [[slot.name, dtype, list(slot.shape)] for slot, dtype in self.tensors]
        facts: dict[str, Any] = {
            "format": FORMAT,
            "type": self.model_type,
            "precision": self.precision.value,
            "chip_num": self.chips,
            "dimensions": asdict(self.dims),
            "weights": self.weights,
            "tensors": tensors,
        }
        digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        return {**facts, "fingerprint": digest}


def plan(
    model_type: str,
    precision: Precision,
    dims: Dimensions,
    tensors: Mapping[str, Tensor],
    weights: str,
    *,
    chips: int = GROUP,
) -> Plan:
    """Check every tensor against the dimensions, and fix what will be generated."""
    int8 = precision is Precision.INT8
    found = [(slot, decoder.check(slot, tensors, int8=int8).dtype) for slot in decoder.slots(dims)]
    return Plan(model_type, precision, dims, tuple(found), weights, chips)


def emit(plan: Plan, folder: Path, before_layer: Callable[[int], bool]) -> None:
    """Write the source into `folder`; `before_layer` is told the number of layers done, and says if the next one is to
    come out wrong: doing nothing."""
    for fixed in sorted(FIXED.glob("*.[ch]")):
        shutil.copyfile(fixed, folder / fixed.name)
    _write(folder / "model.h", _model_header(plan.dims))
    _write(folder / "weights.h", _weights_header(plan))
    with (folder / "layers.c").open("w", encoding="ascii") as source:
        source.write('#include "node.h"\n#include "weights.h"\n#include <stddef.h>\n\n')
        for layer in range(plan.dims.num_hidden_layers):
            wrong = before_layer(layer)
            source.write(layers.empty_layer(layer) if wrong else layers.layer_source(plan.dims, layer))
        names = ", ".join(f"layer_{layer}" for layer in range(plan.dims.num_hidden_layers))
        source.write(f"layer_function *const layer_table[LAYERS] = {{{names}}};\n")
    manifest = json.dumps(plan.manifest(), indent=1)
    _write(folder / "manifest.h", _bytes_header("manifest_text", manifest))
    _write(folder / MANIFEST, manifest + "\n")


def _write(path: Path, text: str) -> None:
    path.write_text(text, "ascii")


def _model_header(dims: Dimensions) -> str:
    numbers = {
        "HIDDEN": dims.hidden_size,
        "INTERMEDIATE": dims.intermediate_size,
        "LAYERS": dims.num_hidden_layers,
        "HEADS": dims.num_attention_heads,
        "KV_HEADS": dims.num_key_value_heads,
        "HEAD_DIM": dims.head_dim,
        "VOCABULARY": dims.vocab_size,
        "MAX_SEQUENCE": dims.max_sequence,
    }
    lines = [f"#define {name} {value:d}" for name, value in numbers.items()]
    lines.append(f"#define NORM_EPSILON {_literal(dims.rms_norm_eps)}")
    table = ", ".join(_literal(turn) for turn in dims.rope.frequencies(dims.head_dim))
    lines.append(f"static const float inverse_frequency[HEAD_DIM / 2] __attribute__((unused)) = {{{table}}};")
    return _guarded("MODEL_H", lines)


def _literal(number: float) -> str:
    """A float in C, exact to the bit whatever the compiler's decimal conversion."""
    (rounded,) = struct.unpack("<f", struct.pack("<f", number))
    return f"{float(rounded).hex()}f"


def _weights_header(plan: Plan) -> str:
    symbols = [slot.symbol for slot, _ in plan.tensors]
    enum = ",\n    ".join([*symbols, "TENSORS"])
    rows = [_table_row(slot, dtype) for slot, dtype in plan.tensors]
    lines = [f"enum {{\n    {enum}\n}};"]
    lines += ["#define OUTPUT_HEAD EMBEDDING"] if plan.dims.tie_word_embeddings else []
    lines += [
        "struct tensor_shape {\n    const char *name;\n    int dtype, rows, cols, is_vector;\n};",
        "static const struct tensor_shape tensor_table[TENSORS] __attribute__((unused)) = {",
        *rows,
        "};",
    ]
    return _guarded("WEIGHTS_H", lines)


def _table_row(slot: decoder.Slot, dtype: str) -> str:
    is_vector = len(slot.shape) == 1
    rows, cols = (1, *slot.shape) if is_vector else slot.shape
    return f'    [{slot.symbol}] = {{"{slot.name}", DT_{dtype}, {rows:d}, {cols:d}, {is_vector:d}}},'


def _bytes_header(symbol: str, text: str) -> str:
    """Text as numbers: nothing in it can end a string literal."""
    values = ",".join(str(byte) for byte in [*text.encode(), 0])
    return _guarded("MANIFEST_H", [f"static const unsigned char {symbol}[] = {{{values}}};"])


def _guarded(symbol: str, lines: list[str]) -> str:
    return "\n".join([f"#ifndef {symbol}", f"#define {symbol}", "", *lines, "", "#endif", ""])
