"""Processes that a stack should have ended and did not, found in /proc.

Services and all they start carry the run's mark in their environment. A vendor's process gets only the environment of
its profile, but works below the state folder or was called with a path in it. Processes that are older than the stack
(a shell that stands in the folder) and zombies do not count.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """One process that lives, and how it was called."""

    pid: int
    command: str


def moment() -> int:
    """Now, in the unit in which /proc tells when a process started: clock ticks since boot."""
    return int(float((_PROC / "uptime").read_text().split()[0]) * os.sysconf("SC_CLK_TCK"))


def left_of(mark: str, state: Path, *, since: int) -> list[Process]:
    """The living processes of the stack with this mark or at work below `state`, started at or after `since`."""
    found = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                if _belongs(folder, mark.encode(), state, since):
                    found.append(Process(int(folder.name), _command(folder)))
            except (OSError, ValueError):
                continue  # it ended while we looked, or is another user's
    return found


def _belongs(folder: Path, mark: bytes, state: Path, since: int) -> bool:
    if _is_zombie(folder) or _started_at(folder) < since:
        return False
    if mark in (folder / "environ").read_bytes():
        return True
    below = os.fsencode(state) + b"/"
    cwd = os.fsencode(os.readlink(folder / "cwd")) + b"/"
    return cwd.startswith(below) or any(part.startswith(below) for part in _argv(folder))


def _argv(folder: Path) -> Iterator[bytes]:
    yield from (folder / "cmdline").read_bytes().split(b"\0")


def _command(folder: Path) -> str:
    return b" ".join(_argv(folder)).decode(errors="replace").strip()


def _is_zombie(folder: Path) -> bool:
    return _stat(folder)[0] in "ZX"


def _started_at(folder: Path) -> int:
    return int(_stat(folder)[19])


def _stat(folder: Path) -> list[str]:
    """Fields of `stat` from the third on (state); the second, the name, may hold blanks and brackets: proc(5)."""
    return (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
