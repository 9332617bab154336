"""A compiled image (`kcore.bin`) and its manifest: their names, and the machines for which an image was compiled."""

import platform
from pathlib import Path

KCORE = "kcore.bin"
MANIFEST = "manifest.json"
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
