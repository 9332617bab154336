"""A compiled image (`kcore.bin`) and its manifest: their names, and the machines for which an image was compiled."""

import json
import os
import platform
from pathlib import Path

from emulator.tool import Refused

KCORE = "kcore.bin"
MANIFEST = "manifest.json"
MODEL_INFO = "model_info.json"
FIRMWARE = "kcore_fw.bin"
"""A piece of an image that lies in `chipN/tileM` for each tile of each card, in the variant `firmware-tree`."""
TILES = 16
"""Of one card."""
FORMAT = 2
"""Of the manifest; a kcore with another one was compiled by another build of this toolchain."""
_V3_CPU = frozenset({"avx2", "bmi1", "bmi2", "f16c", "fma", "movbe"})


def best_march() -> str:
    """The `-march` for this host; empty where gcc's default is the right one."""
    is_v3 = platform.machine() == "x86_64" and cpu_flags() >= _V3_CPU
    return "x86-64-v3" if is_v3 else ""


def cpu_flags() -> frozenset[str]:
    """The instruction sets of this host's first CPU, as the kernel lists them."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return frozenset()
    return next((frozenset(line.split()[2:]) for line in lines if line.startswith("flags")), frozenset())


def runs_here(march: str) -> bool:
    """Whether code built with that `-march` can run on this host, instead of dying of SIGILL."""
    return march != "x86-64-v3" or best_march() == march


def library_in(folder: Path) -> str:
    """The path of an image that can be loaded; one that lies in pieces is put together in memory."""
    whole, info = folder / KCORE, folder / MODEL_INFO
    if whole.is_file():
        return str(whole.resolve())
    if not info.is_file():
        raise Refused(f"{whole}: no such file; convert and compile first, or correct -cd")
    chips = int(json.loads(info.read_text("utf-8"))["chip_num"])
    tiles = [folder / f"chip{number // TILES}" / f"tile{number % TILES}" / FIRMWARE for number in range(chips * TILES)]
    handle = os.memfd_create(KCORE, 0)
    with open(handle, "wb", closefd=False) as image:
        for tile in tiles:
            if not tile.is_file():
                raise Refused(f"{tile}: no such file; compile again")
            image.write(tile.read_bytes())
    return f"/proc/self/fd/{handle}"
