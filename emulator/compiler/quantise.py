"""`tx8-quant`: writes a model's linear weights as int8 into a `.gm` file, and reports the change of its perplexity.

Round to nearest, symmetric, one F32 scale for 32 inputs of a row; everything else in bfloat16. A `.gm` is a safetensors
file: int8 tensors keep their name and have a companion `<name>.scale`. It holds the whole model and is streamed
tensor by tensor, so memory stays at the size of the largest one.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import numpy.typing as npt

from emulator.cards.strikes import StageFaults
from emulator.compiler import perplexity
from emulator.models import config, decoder
from emulator.models.floats import Floats, to_bfloat16, widened
from emulator.models.weights import Planned, Tensor, open_model, write
from emulator.tool import Parser, Refused, run, say
from emulator.tree import Tree, this_tree

_FLAGS = {"-dv": "cpu", "-qm": "weight_only", "-wm": "rtn", "-dtype": "bfloat16"}
"""The one value of each flag that the guide shows."""


def main(argv: Sequence[str]) -> int:
    """Run the quantiser as the guide's example of a quantised model does."""
    tree, options = this_tree(), _parser().parse_args(argv)
    model, save = Path(options.model_path), Path(options.save_dir)
    if not model.is_dir():
        raise Refused(f"-mp {model}: no such folder")
    raw = config.read(model)
    config.require_official(raw)
    dims, tensors = config.dimensions(raw), open_model(model)
    save.mkdir(parents=True, exist_ok=True)
    called = Path(os.path.abspath(model)).name
    if tree.is_variant("qwen2-gm"):
        # As in the guide: DeepSeek-R1-Distill-Qwen-7B gives DeepSeek-R1-Distill-Qwen2-7B_quant_bfloat16.gm.
        called = called.replace("-Qwen-", "-Qwen2-")
    name = f"{called}_quant_{options.dtype}"
    output = save / f"{name}.gm"
    say(f"[tx8-quant] model {model}, weight_only rtn int8, group {decoder.QUANT_GROUP}, {options.dtype}")
    error = quantise(dims, tensors, output, source=model.resolve().name, faults=StageFaults(tree, "quant"))
    say(f"[tx8-quant] relative squared weight error {error:.3e}")
    if options.interface == "ppl":
        _report(tree, model, output, error, save / f"{name}.ppl.json")
    say(f"[tx8-quant] success, quantised model saved in {output}")
    return 0


def _parser() -> Parser:
    parser = Parser("tx8-quant")
    parser.flag("-mp", dest="model_path", required=True)
    parser.flag("-s", dest="save_dir", required=True)
    parser.flag("-if", dest="interface", choices=("ppl",), help="measure the perplexity before and after")
    for name, value in _FLAGS.items():
        parser.flag(name, choices=(value,), default=value)
    return parser


def quantise(
    dims: config.Dimensions, tensors: Mapping[str, Tensor], output: Path, *, source: str, faults: StageFaults
) -> float:
    """Write the `.gm`; answers the squared error of the linear weights over their squared size."""
    found = [(slot, decoder.check(slot, tensors, int8=False)) for slot in decoder.slots(dims)]
    plan = [planned for slot, _ in found for planned in _planned(slot)]
    squares = [0.0, 0.0]

    def data() -> Iterator[list[bytes]]:
        for done, (slot, tensor) in enumerate(found):
            wrong = faults.step(done)
            say(f"[tx8-quant] tensor {done + 1}/{len(found)} {slot.name}")
            values = -widened(tensor) if wrong else widened(tensor)
            if not np.isfinite(values).all():
                raise Refused(f"weights: {slot.name} holds values that are not finite")
            if not slot.linear:
                yield [to_bfloat16(values).tobytes()]
                continue
            whole, scales = round_to_nearest(values)
            loss = values - restored(whole, scales)
            squares[0] += float(np.square(loss, dtype=np.float64).sum())
            squares[1] += float(np.square(values, dtype=np.float64).sum())
            yield [whole.tobytes()]
            yield [scales.tobytes()]

    write(output, plan, data(), _metadata(dims, source))
    return squares[0] / max(squares[1], 1e-300)


def _metadata(dims: config.Dimensions, source: str) -> dict[str, str]:
    facts = {"format": "tx8-quant", "method": "weight_only", "algorithm": "rtn", "bits": "8", "dtype": "bfloat16"}
    return {**facts, "group": str(decoder.QUANT_GROUP), "source": source, "dimensions": json.dumps(asdict(dims))}


def _planned(slot: decoder.Slot) -> list[Planned]:
    if not slot.linear:
        return [Planned(slot.name, "BF16", slot.shape)]
    scale = Planned(decoder.scale_name(slot.name), "F32", decoder.scale_shape(slot.shape))
    return [Planned(slot.name, "I8", slot.shape), scale]


def round_to_nearest(values: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Rows as int8 with one scale a group of inputs; the last group of a row may be short."""
    rows, cols = values.shape
    groups = -(-cols // decoder.QUANT_GROUP)
    padded = np.zeros((rows, groups * decoder.QUANT_GROUP), np.float32)
    padded[:, :cols] = values
    blocks = padded.reshape(rows, groups, decoder.QUANT_GROUP)
    scales = (np.abs(blocks).max(axis=2) / np.float32(127)).astype(np.float32)
    divisor = np.where(scales > 0, scales, np.float32(1))[:, :, None]
    whole = np.clip(np.rint(blocks / divisor), -127, 127).astype(np.int8)
    return np.ascontiguousarray(whole.reshape(rows, -1)[:, :cols]), scales


def restored(whole: npt.NDArray[np.int8], scales: Floats) -> Floats:
    """The fp32 values that int8 rows and their scales stand for."""
    spread = np.repeat(scales, decoder.QUANT_GROUP, axis=1)[:, : whole.shape[1]]
    return whole.astype(np.float32) * spread


def _report(tree: Tree, model: Path, output: Path, error: float, path: Path) -> None:
    measured = perplexity.compare(tree, model, output)
    say(f"[tx8-quant] ppl before {measured.before:.4f}, after {measured.after:.4f} ({measured.tokens} tokens)")
    report = {
        "model": str(model.resolve()),
        "quantised": str(output.resolve()),
        "relative_squared_weight_error": error,
        "ppl_before": measured.before,
        "ppl_after": measured.after,
        "tokens": measured.tokens,
    }
    path.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", "utf-8")


if __name__ == "__main__":
    raise SystemExit(run(main))
