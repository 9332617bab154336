"""The log of an ended attempt: one `.zst` file that can be read from any byte without unpacking the rest.

Layout: independent zstd frames of 256 KiB raw each, then one skippable frame with the seek index, so that plain
`zstd -d` still gives the log. All numbers are little-endian:

    index   = entry* footer
    entry   = raw offset u64, frame offset u64, newlines before it u64          one a frame
    footer  = raw size u64, newlines u64, entries u32, "TX81LOG1"               the last 28 bytes of the file

Bytes are kept exactly as the tool wrote them, UTF-8 or not. A line ends with a newline; what follows the last one, if
anything does, is a line too.
"""

import bisect
import os
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import zstandard

from orchestrator.errors import OrchestratorError
from orchestrator.storage.artifacts import raising_store_full

FRAME = 256 * 1024
"""Raw bytes of a frame: what the smallest read costs to unpack, against a few percent of size."""

_SKIPPABLE = struct.Struct("<II")
_SKIPPABLE_MAGIC = 0x184D2A57  # RFC 8878 §3.1.2: 0x184D2A50 to …5F; 5E is taken by zstd's own seekable format
_ENTRY = struct.Struct("<QQQ")
_FOOTER = struct.Struct("<QQI8s")
_MAGIC = b"TX81LOG1"


class DamagedLog(OrchestratorError):
    """The file is not a sealed log, or a part of it no longer unpacks."""

    code = "damaged_log"


@dataclass(frozen=True, slots=True)
class SealedLog:
    """What was sealed: lines and bytes of the log, and bytes of the file it became."""

    lines: int
    bytes: int
    zst_bytes: int


@dataclass(frozen=True, slots=True)
class _Frame:
    raw_offset: int
    file_offset: int
    newlines_before: int


def seal(log: Path, target: Path) -> SealedLog:
    """Write the sealed form of `log` at `target`, whole or not at all, holding one frame in memory at a time.

    A power cut may take it: what has to last is put into the store, which sees to that."""
    with raising_store_full(target.parent):
        descriptor, name = tempfile.mkstemp(prefix=".sealing-", dir=target.parent)
        try:
            with log.open("rb") as raw, os.fdopen(descriptor, "wb") as sealed:
                outcome = _write(raw, sealed)
            Path(name).rename(target)
        finally:
            Path(name).unlink(missing_ok=True)
    return outcome


def _write(raw: BinaryIO, sealed: BinaryIO) -> SealedLog:
    compressor = zstandard.ZstdCompressor(level=3, write_checksum=True, write_content_size=True)
    index = bytearray()
    size = newlines = written = 0
    last = b""
    while chunk := raw.read(FRAME):
        index += _ENTRY.pack(size, written, newlines)
        written += sealed.write(compressor.compress(chunk))
        size += len(chunk)
        newlines += chunk.count(b"\n")
        last = chunk[-1:]
    index += _FOOTER.pack(size, newlines, len(index) // _ENTRY.size, _MAGIC)
    written += sealed.write(_SKIPPABLE.pack(_SKIPPABLE_MAGIC, len(index)) + index)
    return SealedLog(lines=newlines + (last not in {b"", b"\n"}), bytes=size, zst_bytes=written)


class SealedLogReader:
    """Reads any part of a sealed log; usable from several threads at once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: list[_Frame] = []
        self.size = 0
        """Raw bytes of the whole log."""
        self._newlines = 0
        with path.open("rb") as sealed:
            self._load(sealed)
        self.lines = self._newlines + (self.size > 0 and self.read(self.size - 1, 1) != b"\n")
        """Lines of the whole log."""

    def read(self, offset: int, length: int) -> bytes:
        """Up to `length` raw bytes from `offset`; fewer at the end, none beyond it."""
        end = min(offset + length, self.size)
        if offset < 0 or offset >= end:
            return b""
        parts = []
        for frame, content in self._unpacked(from_offset=offset):
            parts.append(content[max(offset - frame.raw_offset, 0) : end - frame.raw_offset])
            if frame.raw_offset + len(content) >= end:
                break
        return b"".join(parts)

    def offset_of_line(self, number: int) -> int:
        """Where line `number` begins, counting from 0; the size of the log for a line that is not there."""
        if number <= 0:
            return 0
        if number > self._newlines:
            return self.size
        at = bisect.bisect_left(self._frames, number, key=lambda frame: frame.newlines_before) - 1
        frame, content = next(self._unpacked(from_offset=self._frames[at].raw_offset))
        position = -1
        for _ in range(number - frame.newlines_before):
            position = content.index(b"\n", position + 1)
        return frame.raw_offset + position + 1

    def tail(self, lines: int, *, at_most: int = 1 << 20) -> bytes:
        """The last lines, cut at the front to `at_most` bytes: a progress bar may be one line of gigabytes."""
        start = max(self.offset_of_line(self.lines - lines), self.size - at_most)
        return self.read(start, self.size - start)

    def _load(self, sealed: BinaryIO) -> None:
        length = sealed.seek(0, os.SEEK_END)
        if length < _SKIPPABLE.size + _FOOTER.size:
            raise self._damage("too short")
        sealed.seek(length - _FOOTER.size)
        self.size, self._newlines, count, magic = _FOOTER.unpack(sealed.read(_FOOTER.size))
        index_length = count * _ENTRY.size + _FOOTER.size
        if magic != _MAGIC or index_length + _SKIPPABLE.size > length:
            raise self._damage("no index at its end")
        sealed.seek(length - index_length - _SKIPPABLE.size)
        if _SKIPPABLE.unpack(sealed.read(_SKIPPABLE.size)) != (_SKIPPABLE_MAGIC, index_length):
            raise self._damage("the length in its index differs from its frame")
        if count != -(-self.size // FRAME):
            raise self._damage("its index does not have one entry for each frame")
        self._frames = [_Frame(*entry) for entry in _ENTRY.iter_unpack(sealed.read(count * _ENTRY.size))]

    def _unpacked(self, *, from_offset: int) -> Iterator[tuple[_Frame, bytes]]:
        at = max(bisect.bisect_right(self._frames, from_offset, key=lambda frame: frame.raw_offset) - 1, 0)
        # What a frame says of its size and window is not believed: never more than a frame's bytes are asked for.
        decompressor = zstandard.ZstdDecompressor(max_window_size=FRAME)
        with self._path.open("rb") as sealed:
            for frame in self._frames[at:]:
                sealed.seek(frame.file_offset)
                try:
                    content = decompressor.stream_reader(sealed, closefd=False).read(FRAME)
                except zstandard.ZstdError as error:
                    raise self._damage(f"frame at byte {frame.file_offset}: {error}") from error
                if len(content) != min(FRAME, self.size - frame.raw_offset):
                    raise self._damage(f"frame at byte {frame.file_offset} is short")
                yield frame, content

    def _damage(self, reason: str) -> DamagedLog:
        detail = f"{self._path.name} is not a complete sealed log: {reason}; verify the artifact it came from"
        return DamagedLog(detail, path=str(self._path))
