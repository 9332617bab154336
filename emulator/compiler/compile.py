"""`soc_compile.sh`: builds `kcore.bin` from a node's C source with gcc.

On x86-64 the code is built for x86-64-v3 (AVX2) when this host has it: as fast as native, runs on other hosts, and
gives the same bits as a plain build, because the order of every sum is fixed and no operations are contracted.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

from emulator.cards.strikes import StageFaults
from emulator.compiler import folders
from emulator.engine.image import FIRMWARE, KCORE, MANIFEST, MODEL_INFO, TILES, best_march
from emulator.tool import Failed, Parser, Refused, run, say
from emulator.tree import this_tree

SOURCES = ("kernels.c", "node.c", "layers.c", "main.c")
_FLAGS = ("-O3", "-std=gnu11", "-fPIC", "-ffp-contract=off", "-fno-math-errno", "-Wno-psabi")


def main(argv: Sequence[str]) -> int:
    """Run the compiler as the guide's chapter on RTT compilation does."""
    tree = this_tree()
    parser = Parser("soc_compile.sh")
    parser.add_argument("toolchain_release")
    parser.add_argument("node")
    options = parser.parse_args(argv)
    node = Path(options.node)
    if not (Path(options.toolchain_release) / "scripts" / "soc_compile.sh").is_file():
        raise Refused(f"{options.toolchain_release} is not a toolchain_release folder")
    if not (node / MANIFEST).is_file():
        raise Refused(f"{node}: no converted model (no {MANIFEST}); run convert_weight.py to its end first")
    with folders.held(tree, node):
        saved = build(node, faults=StageFaults(tree, "compile"))
        if tree.is_variant("firmware-tree"):
            saved = spread(node)
    say(f"[compile] soc_compile passed, {saved.name} saved in {saved.parent}")
    return 0


def build(node: Path, *, march: str | None = None, faults: StageFaults | None = None, quiet: bool = False) -> Path:
    """Compile the source in `node` to `node/kcore.bin`; the old one is gone even if this fails."""
    kcore = node / KCORE
    kcore.unlink(missing_ok=True)
    (node / MODEL_INFO).unlink(missing_ok=True)
    march = best_march() if march is None else march
    flags = [*_FLAGS, *([f"-march={march}", f'-DKCORE_MARCH="{march}"'] if march else [])]
    objects = [node / f"{Path(source).stem}.o" for source in SOURCES]
    fresh = node / f".{KCORE}.tmp"
    try:
        for done, (source, built) in enumerate(zip(SOURCES, objects, strict=True)):
            if faults is not None:
                faults.step(done)
            if not quiet:
                say(f"[compile] [{100 * done // (len(SOURCES) + 1):3d}%] Building C object {source}")
            _gcc([*flags, "-c", "-o", str(built), str(node / source)])
        if not quiet:
            say("[compile] [ 80%] Linking kcore.bin")
        _gcc(["-shared", "-o", str(fresh), *map(str, objects), "-lm"])
        (node / MODEL_INFO).write_text(json.dumps(_model_info(node)) + "\n")
        os.replace(fresh, kcore)
    finally:
        for leftover in (*objects, fresh):
            leftover.unlink(missing_ok=True)
    return kcore


def _model_info(node: Path) -> dict[str, int]:
    """The facts that inference tools read: the cards, and how they lie beside each other."""
    chips = int(json.loads((node / MANIFEST).read_text("utf-8"))["chip_num"])
    across = 2 if chips > 1 else 1
    return {"chip_num": chips, "chip_x": across, "chip_y": chips // across}


def spread(node: Path) -> Path:
    """In place of `kcore.bin`, the same image in pieces, one for each tile of each card; answers the file that says
    how they lie."""
    image, target = node / KCORE, node / "chip_out" / "node_0_0"
    shutil.rmtree(node / "chip_out", ignore_errors=True)
    chips = _model_info(node)["chip_num"]
    data = image.read_bytes()
    size = -(-len(data) // (chips * TILES))
    for number in range(chips * TILES):
        tile = target / f"chip{number // TILES}" / f"tile{number % TILES}" / FIRMWARE
        tile.parent.mkdir(parents=True)
        tile.write_bytes(data[number * size : (number + 1) * size])
    image.unlink()
    (node / MODEL_INFO).unlink()
    each = {"tile_num": TILES, "tile_x": 4, "tile_y": TILES // 4}
    (target / MODEL_INFO).write_text(json.dumps({**_model_info(node), "chip": [each] * chips}) + "\n")
    return target / MODEL_INFO


def _gcc(arguments: list[str]) -> None:
    compiler = shutil.which("gcc")
    if compiler is None:
        raise Failed("gcc is not installed")
    done = subprocess.run([compiler, *arguments], capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise Failed(f"gcc failed ({done.returncode}):\n{done.stderr.strip()[-4000:]}")


if __name__ == "__main__":
    raise SystemExit(run(main))
