"""Resident memory of the idle embedded stack, by process: `python -m benchmarks.memory`.

PSS counts a page that n processes share as 1/n in each, so the column adds up; RSS is what `ps` shows.
"""

import re
import tempfile
from pathlib import Path

from cli.stack.embedded import StackPlan, free_port, running


def memory(pid: int) -> tuple[int, int]:
    """PSS and RSS of one process, in KiB."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    pss, rss = (re.search(rf"^{name}:\s+(\d+)", text, re.MULTILINE) for name in ("Pss", "Rss"))
    assert pss is not None
    assert rss is not None
    return int(pss[1]), int(rss[1])


def of_stack(plan: StackPlan) -> list[tuple[str, int]]:
    """The processes of one stack: a name from its command line, and its number."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                words = (folder / "cmdline").read_bytes().decode().split("\0")
                marked = plan.mark.encode() in (folder / "environ").read_bytes()
                if marked or any(str(plan.state) in word for word in words):
                    found.append((_name(words), int(folder.name)))
            except OSError:
                continue
    return sorted(found)


def _name(words: list[str]) -> str:
    text = " ".join(words)
    if "--slot" in words:
        return f"worker {words[words.index('--slot') + 1]}"
    for part, name in (("valkey", "broker"), ("flower", "flower"), ("dispatcher", "dispatcher"), ("-m api", "api")):
        if part in text:
            return name
    return "shim" if "shim" in text else text[:40]


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory(prefix="tx81-bench-") as name:
        plan = StackPlan(state=Path(name) / "state", api_port=free_port(0), flower_port=free_port(0))
        with running(plan):
            rows = [(name, *memory(pid)) for name, pid in of_stack(plan)]
    for name, pss, rss in rows:
        print(f"{name:14} PSS {pss / 1024:6.1f} MiB   RSS {rss / 1024:6.1f} MiB")
    print(f"{'all':14} PSS {sum(pss for _, pss, _ in rows) / 1024:6.1f} MiB")


if __name__ == "__main__":
    main()
