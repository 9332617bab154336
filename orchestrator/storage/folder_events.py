"""Sleeping until a file in a folder is written to: Linux's inotify, through the C library.

See inotify(7). A user has a limited number of instances (`fs.inotify.max_user_instances`), so one may be refused.
"""

import ctypes
import os
import select
from pathlib import Path

_IN_MODIFY = 0x00000002
_libc = ctypes.CDLL(None, use_errno=True)


class FolderEvents:
    """Tells one thread that a file in `folder`, not below it, was written to since it last asked.

    `also` is a descriptor of the caller: it wakes the thread too while it is readable; nothing is read from it.
    OSError where the kernel refuses. A write through a memory map is not seen."""

    def __init__(self, folder: Path, also: int | None = None) -> None:
        self._fd = _libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        if self._fd < 0 or _libc.inotify_add_watch(self._fd, os.fsencode(folder), _IN_MODIFY) < 0:
            number = ctypes.get_errno()
            self.close()
            raise OSError(number, os.strerror(number), str(folder))
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)
        if also is not None:
            self._poll.register(also, select.POLLIN)

    def wait(self, seconds: float) -> bool:
        """Block until something was written or `also` is readable, at most so long; False on time-out."""
        readable = {fd for fd, _ in self._poll.poll(seconds * 1000)}
        if self._fd in readable:
            # What happened does not matter; more than this is there at once the next time.
            os.read(self._fd, 65536)
        return bool(readable)

    def close(self) -> None:
        """Give the descriptor back; saying it twice does no harm."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
