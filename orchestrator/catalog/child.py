"""Modules that read files from outside, each run in a process of its own with limits from the kernel.

Such a module imports nothing of ours and has a function `outcome`, from the task, plain data, to the answer. Its
process (`child_main.py`) ends when its standard input is closed: it does not outlive the process that asked.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Event
from typing import Any

from orchestrator.catalog import child_main
from orchestrator.errors import OrchestratorError

_LOOK_EVERY = 0.1
"""Seconds between two looks at whether the answer is still wanted."""


@dataclass(frozen=True)
class ChildLimits:
    """What a program may use: bytes of address space, seconds of processor time, seconds until it is killed."""

    memory: int
    cpu_seconds: int
    wall_seconds: float
    file_bytes: int = 1 << 20


class NotWanted(OrchestratorError):
    """The client that asked has gone; the work was stopped, and nothing of it stays."""

    code = "not_wanted"


class OverLimit(Exception):
    """The program used up a limit; the text says which."""


class Broken(Exception):
    """The program ended without an answer: a fault of ours or of this machine."""


def answer(
    module: Path,
    task: Mapping[str, Any],
    limits: ChildLimits,
    *,
    gone: Event | None = None,
    packages: bool = False,
) -> dict[str, Any]:
    """What `module` answers to `task`; no process of it is left when this returns, with whatever outcome.

    With `packages` it can import what is installed beside the product, otherwise the standard library only.
    OverLimit if it needed more than its limits, NotWanted if `gone` is set meanwhile.
    """
    known = {"memory": limits.memory, "cpu": limits.cpu_seconds, "file": limits.file_bytes}
    said = {**task, "module": str(module), "limits": known}
    with TemporaryFile() as answered, TemporaryFile() as trouble:
        process = subprocess.Popen(
            [sys.executable, *([] if packages else ["-S"]), "-E", "-I", "-X", "utf8", child_main.__file__],
            stdin=subprocess.PIPE, stdout=answered, stderr=trouble, env={}, cwd="/", start_new_session=True,
        )  # fmt: skip
        try:
            assert process.stdin is not None
            process.stdin.write(json.dumps(said).encode() + b"\n")
            process.stdin.flush()
            _wait(process, limits.wall_seconds, gone)
        finally:
            process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
        if process.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            raise OverLimit(f"{limits.cpu_seconds} s of processor time")
        answered.seek(0)
        trouble.seek(0)
        try:
            found: dict[str, Any] = json.loads(answered.read())
        except ValueError:
            told = trouble.read()[-2000:].decode("utf-8", "replace")
            raise Broken(f"{module.name} ended with {process.returncode}: {told}") from None
    if found.get("limit"):
        raise OverLimit(str(found["limit"]))
    return found


def _wait(process: subprocess.Popen[bytes], seconds: float, gone: Event | None) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            process.wait(min(_LOOK_EVERY, max(0.0, deadline - time.monotonic())))
            return
        except subprocess.TimeoutExpired:
            if gone is not None and gone.is_set():
                raise NotWanted("the client that asked has gone; nothing was kept") from None
            if time.monotonic() >= deadline:
                raise OverLimit(f"{seconds:.0f} s") from None
