"""Processor time of the processes below this one, by what they are."""

import os
from collections import Counter
from pathlib import Path

_TICK = os.sysconf("SC_CLK_TCK")


def seconds_by_name() -> Counter[str]:
    """What every living process below this one has used so far, with the children that it has buried."""
    used: Counter[str] = Counter()
    family = {os.getpid()}
    for pid, parent, seconds in sorted(_processes()):
        if pid in family or parent in family:
            family.add(pid)
            used[_name(pid) if pid != os.getpid() else "client"] += seconds
    return used


def _processes() -> list[tuple[int, int, float]]:
    """Number, parent and seconds of each."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            own = int(folder.name) == os.getpid()  # what the children of the benchmark itself used is theirs
            ticks = sum(map(int, stat[11:13] if own else stat[11:15]))
            found.append((int(folder.name), int(stat[1]), ticks / _TICK))
    return found


def _name(pid: int) -> str:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")
    except OSError:
        return "gone"
    text = " ".join(words)
    known = {
        "celery": "bare worker", "workers/processes/shim": "shim and tool", "-m workers": "worker", "valkey": "broker",
        "dispatcher": "dispatcher", "-m api": "api", "postgres": "database",
    }  # fmt: skip
    return next((name for part, name in known.items() if part in text), text[:40])
