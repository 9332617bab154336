"""The moment at which a card's device node is opened, as the kernel reports it (inotify).

It says that a node was opened, not by which process: that is looked up at once. A node with an inode of its own in a
container is not covered, nor a kernel that gives no more watches: who waits here looks at fixed times too.
"""

import ctypes
import os
import select
import struct
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from workers.host.probe import Probe

_IN_OPEN, _IN_IGNORED = 0x20, 0x8000
_HEAD = struct.Struct("iIII")
_MOST_BYTES = 1 << 16

_NODES_KEPT = 1.0
"""Seconds for which a host is not searched for new nodes again."""

_libc = ctypes.CDLL(None, use_errno=True)


class OpenEvents:
    """Reports of nodes that are opened, from now until `close`; `wake` ends a wait from another thread."""

    def __init__(self, nodes: Mapping[Path, int]) -> None:
        """`nodes`: each device node with the number of its card."""
        self._woken = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._events = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._cards: dict[int, set[int]] = {}
        self.outdated = False
        """Whether one of the nodes is no longer there."""
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

    def forget(self) -> None:
        """What was reported until now is nobody's business any more."""
        with suppress(BlockingIOError):
            os.eventfd_read(self._woken)
        if self._events >= 0:
            self._read()

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
            watch, what, _, length = _HEAD.unpack_from(told, at)
            self.outdated = self.outdated or bool(what & _IN_IGNORED)
            opened |= self._cards.get(watch, set())
            at += _HEAD.size + length
        return frozenset(opened)


class KeptEvents:
    """The reports that one attempt after the other of a slot listens to: watching 32 nodes anew takes a millisecond."""

    def __init__(self) -> None:
        self._kept: OpenEvents | None = None
        self._nodes: Mapping[Path, int] = {}
        self._probe: Probe | None = None
        self._searched_at = 0.0

    def take(self, probe: Probe) -> OpenEvents:
        """Those of the nodes of this host from now on; whoever takes them gives them back or closes them."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.forget()
        recent = self._probe == probe and time.monotonic() < self._searched_at + _NODES_KEPT
        if kept is not None and recent and not kept.outdated:
            return kept
        nodes, self._searched_at = probe.nodes(), time.monotonic()
        if kept is not None and nodes == self._nodes and not kept.outdated:
            self._probe = probe
            return kept
        if kept is not None:
            kept.close()
        self._nodes, self._probe = nodes, probe
        return OpenEvents(nodes)

    def give_back(self, events: OpenEvents) -> None:
        """Nobody waits for them any more."""
        self._kept = events

    def close(self) -> None:
        """Close those that are kept."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()
