"""The state folder is its user's alone: folders 0700, files 0600, whoever makes them and whatever was there before."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

PRIVATE = 0o077
"""The umask of services."""

_ALWAYS = (
    *("admin-token", "stack.lock", "tx81.db", "tx81.db-wal", "tx81.db-shm", "tx81.db-journal"),
    *("broker", "flower", "flower.db", "logs", "work"),
)
"""What nobody else has any business with, also in a folder that is not ours alone."""
_SHARABLE = ("store", "models", "tree", "hosts")


@contextmanager
def private_umask() -> Iterator[None]:
    """Whatever this process and its children make inside is for its user alone."""
    before = os.umask(PRIVATE)
    try:
        yield
    finally:
        os.umask(before)


def private_state(folder: Path) -> None:
    """Make the state folder, or take from others what they may do in the one that is there. OSError.

    A folder in which other things lie too (TX81_STATE_DIR=/var/lib) keeps its mode: only what is ours in it changes.
    Nothing that belongs to another user is touched."""
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
