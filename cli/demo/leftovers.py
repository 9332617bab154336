"""Processes that a stack should have ended and did not.

Services and all they start carry the run's mark in their environment. A vendor's process gets only the environment of
its profile, but works below the state folder or was called with a path in it. Processes that are older than the stack
(a shell whose working directory is the folder), zombies, and processes of other users do not count.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil


def running() -> frozenset[psutil.Process]:
    """The processes that exist now; equal only to themselves, also after their number was given to another process."""
    return frozenset(_processes())


def left_of(mark: str, state: Path, *, before: frozenset[psutil.Process]) -> list[psutil.Process]:
    """The processes of the stack with this mark, or at work below `state`, that live and are not among `before`."""
    return [process for process in _processes() if process not in before and _belongs(process, mark, state)]


def command(process: psutil.Process) -> str:
    """How it was called; empty if it has ended meanwhile."""
    with suppress(psutil.Error):
        return " ".join(process.cmdline())
    return ""


def _processes() -> Iterator[psutil.Process]:
    # Not `process_iter`: it returns cached objects, also where the number belongs to another process by now.
    for pid in psutil.pids():
        if pid != os.getpid():
            with suppress(psutil.Error):
                yield psutil.Process(pid)


def _belongs(process: psutil.Process, mark: str, state: Path) -> bool:
    with suppress(psutil.Error):
        if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
            return False
        if mark in process.environ().values():
            return True
        below = f"{state}/"
        return f"{process.cwd()}/".startswith(below) or any(part.startswith(below) for part in process.cmdline())
    return False
