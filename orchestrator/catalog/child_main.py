"""What `orchestrator.catalog.child` starts: one module's `outcome(task)`, below limits of the kernel.

It imports nothing of ours but that module, by its path; the module imports nothing of ours either.
"""

from __future__ import annotations

import importlib.util
import json
import os
import resource
import sys
import threading


def main() -> None:
    """Read the task, do it, answer."""
    task = json.loads(sys.stdin.buffer.readline())
    spec = importlib.util.spec_from_file_location("tx81_reader", task["module"])
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["tx81_reader"] = module
    spec.loader.exec_module(module)
    threading.Thread(target=_end_with_asker, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    for limit, name in ((resource.RLIMIT_AS, "memory"), (resource.RLIMIT_CPU, "cpu"), (resource.RLIMIT_FSIZE, "file")):
        resource.setrlimit(limit, (task["limits"][name], task["limits"][name]))
    try:
        answer = module.outcome(task)
    except MemoryError:
        answer = {"limit": f"{task['limits']['memory'] >> 20} MiB of memory"}
    os.write(1, json.dumps(answer).encode())
    # Not through the interpreter's shutdown, which would wait for the thread that still reads.
    os._exit(0)


def _end_with_asker() -> None:
    while sys.stdin.buffer.read(1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
