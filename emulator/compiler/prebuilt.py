"""A compiled model as the vendor delivers it: `deepseek_7b_bf16_seq8192_c4.tar.gz`, for customers who compile nothing.

The guide's converter supports only groups of four cards; an image for the single card is only available this way.
"""

import re
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from emulator.compiler import codegen
from emulator.compiler.compile import build
from emulator.engine.image import KCORE, MANIFEST
from emulator.models import config
from emulator.models.weights import open_model
from emulator.tool import Parser, Refused, say
from emulator.tree import GROUP, Precision

_KEPT = (KCORE, "model_info.json", MANIFEST)
"""Of a node's folder; the source stays with the vendor."""


def main(argv: Sequence[str]) -> int:
    """Compile a model in bf16 and pack it; the last line names the archive."""
    parser = Parser("python -m emulator kcore")
    parser.add_argument("model", type=Path)
    parser.add_argument("folder", type=Path)
    parser.flag("--chips", type=int, choices=(1, GROUP), default=GROUP)
    options = parser.parse_args(argv)
    say(str(pack(options.model.resolve(), options.folder.resolve(), chips=options.chips)))
    return 0


def pack(model: Path, folder: Path, *, chips: int) -> Path:
    """Write `NAME_bf16_seqN_cM.tar.gz` into the folder, where there is none yet."""
    raw = config.read(model)
    config.require_official(raw)
    dims = config.dimensions(raw)
    name = f"{re.sub(r'[^A-Za-z0-9.-]', '_', model.name)}_bf16_seq{dims.max_sequence}_c{chips}"
    archive = folder / f"{name}.tar.gz"
    if archive.exists():
        raise Refused(f"{archive} is there already")
    plan = codegen.plan("prebuilt", Precision.FLOAT, dims, open_model(model), "model.safetensors", chips=chips)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="tx81-") as scratch:
        node = Path(scratch)
        codegen.emit(plan, node, lambda _: False)
        build(node, quiet=True)
        with tarfile.open(archive, "x:gz") as packed:
            for kept in _KEPT:
                packed.add(node / kept, f"{name}/chip_out/node_0_0/{kept}")
    return archive
