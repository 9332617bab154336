"""`convert_weight.py`: checks a model against a backend type and writes the C source of its node.

Pitfalls of the real tool that are kept: the output folder is fixed by the type and shared by all conversions; a refused
call leaves the files there, also an old `kcore.bin`. Once source is being written, the old `kcore.bin` is deleted.
"""

import os
from collections.abc import Sequence
from pathlib import Path

from emulator.cards.strikes import StageFaults
from emulator.compiler import codegen, folders
from emulator.engine.image import KCORE, MANIFEST
from emulator.models import config
from emulator.models.weights import SafetensorsFile, open_model
from emulator.tool import Parser, Refused, require_conda, run, say
from emulator.tree import MODEL_TYPES, Family, ModelType, Precision, Tree, this_tree

TOOLCHAIN = "TX8_TOOLCHAIN_RELEASE"
"""Set by `env_set.sh`."""


def main(argv: Sequence[str]) -> int:
    """Run the converter as the guide's chapter on model conversion does."""
    tree, options = this_tree(), _parser().parse_args(argv)
    model_type = MODEL_TYPES.get(options.backend_model_type)
    if model_type is None:
        raise Refused(f"--backend-model-type {options.backend_model_type!r} is none of: {', '.join(MODEL_TYPES)}")
    _require_environment(tree, model_type)
    say(f"[convert] backend model type {options.backend_model_type}, model {options.input_model}")
    plan = _plan(options.backend_model_type, model_type, Path(options.input_model), options.q_model_path)
    node = tree.node(model_type)
    node.mkdir(parents=True, exist_ok=True)
    with folders.held(tree, node):
        _convert(plan, node, StageFaults(tree, "convert"))
    say(f"[convert] fingerprint {plan.manifest()['fingerprint']}")
    say(f"[convert] success, C code saved in {node}")
    return 0


def _parser() -> Parser:
    parser = Parser("convert_weight.py")
    parser.flag("--input_model", required=True, help="folder of the official Hugging Face weights")
    parser.flag("--backend-model-type", required=True, help=f"one of [{', '.join(MODEL_TYPES)}]")
    parser.flag("--q-model-path", help="quantised weights (.gm)")
    return parser


def _require_environment(tree: Tree, model_type: ModelType) -> None:
    sourced = os.environ.get(TOOLCHAIN, "")
    if not sourced or Path(sourced).resolve() != tree.toolchain.resolve():
        raise Refused(f"environment is not set; run: source {tree.toolchain}/scripts/env_set.sh")
    require_conda("tx8_txnn_trans_4.46" if model_type.family is Family.LLAMA3 else "tx8_txnn_trans_4.38")


def _plan(name: str, model_type: ModelType, model: Path, quantised: str | None) -> codegen.Plan:
    if not model.is_dir():
        raise Refused(f"--input_model {model}: no such folder")
    if (model_type.precision is Precision.INT8) != (quantised is not None):
        raise Refused(f"type {name} {'does not take' if quantised else 'needs'} --q-model-path")
    raw = config.read(model)
    config.require_official(raw)
    config.require_family(raw, model_type.family)
    dims = config.dimensions(raw)
    if quantised is None:
        return codegen.plan(name, model_type.precision, dims, open_model(model), "model.safetensors")
    file = SafetensorsFile(Path(quantised))
    if file.metadata.get("format") != "tx8-quant":
        raise Refused(f"--q-model-path {quantised}: not written by tx8-quant")
    return codegen.plan(name, model_type.precision, dims, file.tensors, Path(quantised).name)


def _convert(plan: codegen.Plan, node: Path, faults: StageFaults) -> None:
    layers = plan.dims.num_hidden_layers

    def before_layer(done: int) -> bool:
        wrong = faults.step(done)
        say(f"[convert] layer {done + 1}/{layers}")
        return wrong

    for old in (node / KCORE, node / MANIFEST):
        old.unlink(missing_ok=True)
    codegen.emit(plan, node, before_layer)


if __name__ == "__main__":
    raise SystemExit(run(main))
