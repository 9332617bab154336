"""Stored artifacts as downloads: one file, one file of a tree, or a whole tree as a .tar."""

import os
import tarfile
from collections.abc import Callable, Iterator
from pathlib import PurePath
from urllib.parse import quote

from orchestrator.storage.artifacts import ArtifactStore, UnknownArtifact
from orchestrator.storage.trees import Entry, Tree

_BLOCK = 512  # POSIX.1-2001, pax interchange format
_PIECE = 1 << 18


def attachment(file_name: str) -> str:
    """A Content-Disposition that saves under this name, whatever characters are in it (RFC 6266, RFC 8187)."""
    return f"attachment; filename*=utf-8''{quote(os.fsencode(PurePath(file_name).name), safe='')}"


def shown(path: str) -> str:
    """A path of a tree as text that JSON can carry: bytes that are not UTF-8 become `\\xNN`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def entry_at(tree: Tree, path: str) -> Entry:
    """The file of a tree that is shown as `path`; only names in the manifest are ever looked up."""
    named = [entry for entry in tree.entries if path in (entry.path, shown(entry.path))]
    if not named:
        raise UnknownArtifact(f"the tree has no file {path[:200]!r}; see its entries", field="path")
    return min(named, key=lambda entry: entry.path != path)


def reader(store: ArtifactStore, digest: str) -> Callable[[int, int], bytes]:
    """Reads any part of a stored file, opening it each time: an abandoned download leaves nothing open."""
    place = store.path(digest)

    def read(offset: int, length: int) -> bytes:
        with place.open("rb") as stored:
            stored.seek(offset)
            return stored.read(length)

    return read


def tar_of(store: ArtifactStore, tree: Tree) -> Iterator[bytes]:
    """A tree as a .tar without times and owners, so that equal trees give equal bytes."""
    for folder in tree.empty_folders:
        yield _header(folder, 0, 0o755, tarfile.DIRTYPE)
    for entry in tree.entries:
        yield _header(entry.path, entry.size, 0o755 if entry.executable else 0o644, tarfile.REGTYPE)
        with store.open(entry.digest) as stored:
            while piece := stored.read(_PIECE):
                yield piece
        yield bytes(-entry.size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _header(path: str, size: int, mode: int, kind: bytes) -> bytes:
    member = tarfile.TarInfo(path)
    member.size, member.mode, member.type = size, mode, kind
    return member.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
