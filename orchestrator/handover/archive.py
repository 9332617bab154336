"""Members → one compressed .tar, piece by piece: never more than one piece in memory, and the same bytes every time.

A member whose size is not known before is written to a temporary file first. The last member, `SHA256SUMS`, has the
digest of every other one.
"""

import hashlib
import re
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from tempfile import SpooledTemporaryFile

import zstandard

_BLOCK = 512  # POSIX.1-2001, pax interchange format
_PIECE = 1 << 18
_IN_MEMORY = 1 << 20


class Compression(StrEnum):
    """How an archive is compressed."""

    ZST = "zst"
    GZ = "gz"


@dataclass(frozen=True)
class ArchiveMember:
    """One file of an archive."""

    path: str
    pieces: Callable[[], Iterable[bytes]]
    size: int | None = None
    """Bytes of all pieces, if that is known: then they are not written to a temporary file."""
    executable: bool = False


def archive(members: Iterable[ArchiveMember], *, below: str, mtime: int, how: Compression) -> Iterator[bytes]:
    """The archive; every path is below the folder `below`, every time is `mtime` (seconds since 1970)."""
    compressed = (
        zstandard.ZstdCompressor(level=3).compressobj() if how is Compression.ZST else zlib.compressobj(6, 8, 31)
    )
    for piece in _tar(members, below, mtime):
        if made := compressed.compress(piece):
            yield made
    yield compressed.flush()


def safe_name(name: str) -> str:
    """A plain file name made of any text: no folder, no hidden file, no option, nothing that a shell reads."""
    plain = re.sub(r"[^\w.+=-]", "_", name.rpartition("/")[2]).lstrip(".-")
    return plain.encode()[:100].decode(errors="ignore") or "file"


def _tar(members: Iterable[ArchiveMember], below: str, mtime: int) -> Iterator[bytes]:
    sums = []
    for member in members:
        digest = hashlib.sha256()
        for piece in _member(member, below, mtime):
            if isinstance(piece, memoryview):
                digest.update(piece)
            yield bytes(piece)
        sums.append(f"{digest.hexdigest()}  {member.path}\n".encode("utf-8", "surrogateescape"))
    listing = ArchiveMember("SHA256SUMS", lambda: sums)
    yield from map(bytes, _member(listing, below, mtime))
    yield bytes(2 * _BLOCK)


def _member(member: ArchiveMember, below: str, mtime: int) -> Iterator[bytes | memoryview]:
    """Its header, its content (as memory views) and its padding."""
    if member.size is None:
        with SpooledTemporaryFile(max_size=_IN_MEMORY) as spool:
            for piece in member.pieces():
                spool.write(piece)
            size = spool.tell()
            spool.seek(0)
            yield from _whole(member, iter(lambda: spool.read(_PIECE), b""), size, below, mtime)
    else:
        yield from _whole(member, member.pieces(), member.size, below, mtime)


def _whole(
    member: ArchiveMember, pieces: Iterable[bytes], size: int, below: str, mtime: int
) -> Iterator[bytes | memoryview]:
    header = tarfile.TarInfo(f"{below}/{member.path}")
    header.size, header.mtime, header.mode = size, mtime, 0o755 if member.executable else 0o644
    yield header.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
    written = 0
    for piece in pieces:
        written += len(piece)
        yield memoryview(piece)
    if written != size:
        raise EOFError(f"{member.path} has {written} bytes, and {size} were announced")
    yield bytes(-size % _BLOCK)
