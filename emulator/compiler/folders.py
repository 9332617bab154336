"""The converter's fixed output folders: one process at a time, and a second one is recorded as a violation.

They are named by model type only and lie inside the install tree, so two jobs of one type would overwrite each other.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from emulator.cards.events import record
from emulator.cards.locks import lock_holder
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
