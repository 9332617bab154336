"""Whether the disks that a worker writes to have room: looked at before a failure is judged, and to end a lack."""

import errno
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
"""Errors that say that a disk, or a quota on it, is full."""

_TRIAL = bytes(64 * 1024)
"""Written where the figures say that there is room: they do not show quotas."""


def shortage(folders: Iterable[Path], reserve: int, *, own: Path | None = None) -> str | None:
    """Why a disk of these folders is full: fewer than `reserve` bytes are free, or nothing can be written there.

    What lies below `own`, which is about to be removed, counts as free: an attempt that fills a disk alone is to blame.
    """
    for folder in map(_there, folders):
        figures = os.statvfs(folder)
        free = figures.f_bavail * figures.f_frsize
        if own is not None and own.exists() and own.stat().st_dev == folder.stat().st_dev:
            free += _size(own)
        if free < reserve:
            return f"disk full: {free} bytes are left at {folder}, fewer than {reserve} (TX81_DISK_RESERVE)"
        if own is None and (why := _unwritable(folder)) is not None:
            return f"disk full: nothing can be written at {folder}: {why}"
    return None


def _there(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _unwritable(folder: Path) -> str | None:
    try:
        with TemporaryFile(dir=folder) as trial:
            trial.write(_TRIAL)
            trial.flush()
    except OSError as error:
        if error.errno in NO_ROOM:
            return os.strerror(error.errno or 0)
    return None


def _size(folder: Path) -> int:
    """Bytes on disk that go with the folder: not those of files that are linked elsewhere too."""
    total = 0
    for where, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                found = os.lstat(os.path.join(where, name))
                total += found.st_blocks * 512 if found.st_nlink == 1 else 0
    return total
