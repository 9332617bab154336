"""Tar archives made in memory, with fixed times and owners: the same files give the same bytes."""

import io
import tarfile
from collections.abc import Callable


def packed(fill: Callable[[tarfile.TarFile], None]) -> bytes:
    """A plain archive of what `fill` adds."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        fill(archive)
    return made.getvalue()


def add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    """One regular file."""
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    archive.addfile(entry, io.BytesIO(data))
