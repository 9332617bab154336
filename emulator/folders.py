"""The converter's fixed output folders: one process at a time, and a violation on record for a second one.

They are named by model type only and lie inside the install tree, so two jobs of one type would overwrite each other.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emulator.events import record
from emulator.tool import Failed
from emulator.tree import Tree


@contextmanager
def held(tree: Tree, folder: Path) -> Iterator[None]:
    """Hold a folder that exists; a folder held elsewhere is `Failed`. The lock is on the folder itself and leaves no
    file."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = lock_holder(os.fstat(handle))
            record(tree.events, "violation", folder=str(folder), holder=holder)
            raise Failed(f"{folder}: Device or resource busy (held by pid {holder or 'unknown'})") from None
        yield
    finally:
        os.close(handle)


def lock_holder(found: os.stat_result) -> int:
    """The pid that the kernel shows for a file's `flock`; 0 where it shows none (a pid outside this container)."""
    wanted = f"{os.major(found.st_dev):02x}:{os.minor(found.st_dev):02x}:{found.st_ino}"
    try:
        lines = Path("/proc/locks").read_text("ascii", "replace").splitlines()
    except OSError:
        return 0
    rows = [line.split() for line in lines if "FLOCK" in line and "->" not in line]
    return next((int(row[4]) for row in rows if len(row) > 5 and row[5] == wanted), 0)
