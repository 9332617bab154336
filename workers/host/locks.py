"""Locks on this host, by `flock`: they end with the last process that holds the descriptor, however it ends.

A descriptor that a child inherits keeps the lock when its parent dies. That is the point of it: while a survivor
still works on a card, no other process can start there.
"""

import fcntl
import os
import re
import secrets
import select
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workers.processes.process import StopSignal

_LOOK_AGAIN = 0.2
"""Seconds between two tries for a lock that another process holds; the kernel offers no wait with a time limit."""


class Held(Exception):
    """Another process holds the lock; `holder` is what it wrote into the file."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"{path} is locked by {holder}")
        self.path = path
        self.holder = holder


def take(path: Path, *, owner: str) -> int:
    """Lock the file at `path`, or raise `Held` at once; returns the descriptor, and closing it gives the lock back.

    Never unlock it instead of closing: that would take the lock from the children that inherited it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # No following of links: the folder of locks may be one that others can write to.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 400, 0).decode("utf-8", "replace").strip()
        os.close(descriptor)
        raise Held(path, holder or "a process that has not written its name yet") from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{owner}\n".encode(), 0)
    return descriptor


@contextmanager
def waited_for(path: Path, *, owner: str, log: Path, stop: StopSignal) -> Iterator[int | None]:
    """Hold the lock at `path` for the block, waiting for it as long as `stop` allows; None if it was asked to stop.

    Whom it waits for is written into the log of the attempt."""
    descriptor: int | None = None
    told = ""
    with stop.waking() as waker:
        while descriptor is None and stop.reason is None:
            try:
                descriptor = take(path, owner=owner)
            except Held as held:
                if held.holder != told:
                    told = held.holder
                    say(log, f"waiting for {path.stem}, locked by {told}")
                select.select([waker], [], [], _LOOK_AGAIN)
    try:
        yield descriptor
    finally:
        if descriptor is not None:
            os.close(descriptor)


def domain(folder: Path) -> str:
    """The name of the lock domain of `folder`: random, made at first sight, and the same for all of them.

    Two machines, or two containers with folders of their own, have different ones, whatever they call their host."""
    folder.mkdir(parents=True, exist_ok=True)
    file, made = folder / "domain", folder / f"domain.{secrets.token_hex(8)}"
    while not file.exists():
        made.write_text(secrets.token_hex(16))
        # Whole, or not at all; of two that make it at once, the first one's stands.
        with suppress(FileExistsError):
            os.link(made, file)
        made.unlink()
    return file.read_text()


def file_name(text: str) -> str:
    """`text` as part of a lock's file name: whatever could be a path becomes `_`."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", text)


def say(log: Path, sentence: str) -> None:
    """Write a line of ours into the log of an attempt."""
    with log.open("ab") as opened:
        opened.write(f"[tx81] {sentence}\n".encode())
