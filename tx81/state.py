"""Only its user can access the state folder: folders 0700, files 0600, whichever process creates them, and also if it
existed before."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = 0o077
"""The umask of services."""

_ALWAYS = (
    *("admin-token", "admin-token.server", "stack.lock", "tx81.db", "tx81.db-wal", "tx81.db-shm", "tx81.db-journal"),
    *("broker", "flower", "flower.db", "logs", "work"),
)
"""Private names, which are closed to others also in a shared folder."""
_SHARABLE = ("store", "models", "tree", "hosts")


@contextmanager
def private_umask() -> Iterator[None]:
    """Inside the block, only its user can access what this process and its children create."""
    before = os.umask(PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


def private_state(folder: Path) -> None:
    """Create the state folder, or remove the permissions of others from the existing one. OSError.

    A folder that contains other things too (TX81_STATE_DIR=/var/lib) keeps its mode: only our own entries in it change.
    Nothing that belongs to another user is changed."""
    with private_umask():
        folder.mkdir(parents=True, exist_ok=True)
    entries = {entry.name for entry in folder.iterdir()}
    alone = entries <= {*_ALWAYS, *_SHARABLE}
    if alone:
        _restrict(folder)
    for name in entries & {*_ALWAYS, *(_SHARABLE if alone else ())}:
        _restrict(folder / name)
        if name in ("broker", "flower", "logs"):
            for below in (folder / name).iterdir() if (folder / name).is_dir() else ():
                _restrict(below)


def _restrict(path: Path) -> None:
    with suppress(FileNotFoundError, PermissionError):
        found = path.lstat()
        ours = found.st_uid == os.geteuid() and (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode))
        if ours and found.st_mode & PRIVATE:
            path.chmod(stat.S_IMODE(found.st_mode) & ~PRIVATE)
