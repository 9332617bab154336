"""Archives read within limits: what an archive says of itself is not believed, only what is really read counts.

The same limits as the product has for archives; the emulator shares no code with it.
"""

import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from emulator.tool import Failed

BROKEN_ZIP = (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, KeyError, ValueError, RuntimeError, OSError)
"""What `zipfile` raises about a file that is no zip, or one that this Python cannot unpack."""

MOST_ENTRIES = 100_000

MOST_BYTES = 4 << 30
"""Of all files of an archive together, unpacked; those of the emulated packages have some KiB."""

MOST_RECORD_BYTES = 16 << 20
"""Of a file that is read as a whole, and of a zip's directory: that of 100,000 entries."""

_PIECE = 1 << 20
_END = b"PK\x05\x06"  # APPNOTE.TXT 4.3.16, end of central directory record
_END_BYTES = 22
_LOCATOR = b"PK\x06\x07"  # 4.3.15, of zip64
_LOCATOR_BYTES = 20
_COMMENT_BYTES = 1 << 16


class Left:
    """How many bytes may still be read from one archive."""

    def __init__(self, name: str, most: int = MOST_BYTES) -> None:
        self._name = name
        self._left = most

    def take(self, count: int) -> None:
        """Count bytes that were read; Failed if they are too many."""
        self._left -= count
        if self._left < 0:
            raise Failed(f"{self._name} holds more bytes than it may")


class Counted:
    """A stream whose bytes are counted."""

    def __init__(self, stream: BinaryIO, left: Left) -> None:
        self._stream = stream
        self._left = left

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes, in pieces, so that no size that an archive claims is made room for."""
        parts, wanted = [], size
        while wanted and (part := self._stream.read(_PIECE if wanted < 0 else min(wanted, _PIECE))):
            self._left.take(len(part))
            parts.append(part)
            wanted -= len(part) if wanted > 0 else 0
        return b"".join(parts)


def entries(archive: zipfile.ZipFile, name: str) -> list[zipfile.ZipInfo]:
    """The files of a zip; Failed if they are too many, or one is there twice."""
    found = [info for info in archive.infolist() if not info.is_dir()]
    if len(archive.infolist()) > MOST_ENTRIES:
        raise Failed(f"{name} has more than {MOST_ENTRIES} entries")
    if len({info.filename for info in found}) != len(found):
        raise Failed(f"{name} holds a file twice")
    return found


def pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo, left: Left) -> Iterator[bytes]:
    """The content of a file of a zip, counted as it is unpacked."""
    with archive.open(info) as stream:
        while piece := stream.read(_PIECE):
            left.take(len(piece))
            yield piece


def require_small_directory(path: Path) -> None:
    """Failed if a zip's directory, which Python reads as a whole when it opens the zip, is too large."""
    with path.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - _END_BYTES - _COMMENT_BYTES - _LOCATOR_BYTES))
        tail = file.read()
    # The record is where Python looks for it: at the end, or else wherever it begins last.
    at = len(tail) - _END_BYTES
    if not (tail[-_END_BYTES:].startswith(_END) and tail.endswith(b"\0\0")):
        at = tail.rfind(_END)
    large = int.from_bytes(tail[at + 12 : at + 16], "little") > MOST_RECORD_BYTES
    if at >= 0 and (large or tail[max(0, at - _LOCATOR_BYTES) : at].startswith(_LOCATOR)):
        raise Failed(f"{path.name} has a directory of more than {MOST_RECORD_BYTES} bytes")
