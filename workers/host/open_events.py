"""The moment at which a card's device node is opened, as the kernel reports it (inotify).

It says that a node was opened, not by which process: that is looked up at once. A node with an inode of its own in a
container is not covered, nor a kernel that gives no more watches: who waits here looks at fixed times too.
"""

import ctypes
import os
import select
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_IN_OPEN = 0x20
_HEAD = struct.Struct("iIII")
_MOST_BYTES = 1 << 16

_libc = ctypes.CDLL(None, use_errno=True)


class OpenEvents:
    """Reports of nodes that are opened, from now until `close`; `wake` ends a wait from another thread."""

    def __init__(self, nodes: Mapping[Path, int]) -> None:
        """`nodes`: each device node with the number of its card."""
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._events = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._cards: dict[int, set[int]] = {}
        if self._events < 0:
            return
        for path, card in nodes.items():
            watch = _libc.inotify_add_watch(self._events, os.fsencode(path), _IN_OPEN)
            if watch >= 0:
                self._cards.setdefault(watch, set()).add(card)

    def wait(self, seconds: float) -> frozenset[int]:
        """The cards whose node was opened since the last call; waits for the first. Empty after `seconds`, or woken."""
        waiting = select.poll()
        for one in (self._events, self._woken):
            if one >= 0:
                waiting.register(one, select.POLLIN)
        ready = [one for one, _ in waiting.poll(seconds * 1000)]
        return self._read() if self._events in ready else frozenset()

    def wake(self) -> None:
        """End the wait."""
        os.eventfd_write(self._woken, 1)

    def close(self) -> None:
        """Give the descriptors back; nobody may wait any more."""
        for one in (self._events, self._woken):
            with suppress(OSError):
                os.close(one)

    def _read(self) -> frozenset[int]:
        try:
            told = os.read(self._events, _MOST_BYTES)
        except BlockingIOError:
            return frozenset()
        opened: set[int] = set()
        at = 0
        while at < len(told):
            watch, _, _, length = _HEAD.unpack_from(told, at)
            opened |= self._cards.get(watch, set())
            at += _HEAD.size + length
        return frozenset(opened)
