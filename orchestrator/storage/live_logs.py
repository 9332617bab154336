"""The log of a running attempt, in compressed pieces in SQL, so that it survives the worker's death.

A piece is named by its byte offset in the raw log; a piece sent twice changes nothing. When the attempt ends the whole
log is sealed as one artifact (`orchestrator.storage.logs`) and the pieces are dropped.
"""

import zstandard
from sqlalchemy import bindparam, delete, func, select
from sqlalchemy.orm import Session

from orchestrator.storage.database import run
from orchestrator.storage.logs import DamagedLog
from orchestrator.storage.tables import Base, LogChunk

MAX_CHUNK_BYTES = 64 * 1024
_LARGEST_WINDOW = 1 << 20

_CHUNK = Base.metadata.tables["log_chunk"]
_DROP = delete(_CHUNK).where(_CHUNK.c.attempt_id == bindparam("ended"))


def append(session: Session, attempt_id: int, offset: int, raw: bytes) -> None:
    """Store `raw` (at most `MAX_CHUNK_BYTES`) as the log's bytes from `offset` on."""
    if raw and session.get(LogChunk, (attempt_id, offset)) is None:
        zst = zstandard.ZstdCompressor(level=3).compress(raw)
        session.add(LogChunk(attempt_id=attempt_id, offset=offset, size=len(raw), zst=zst))


def size(session: Session, attempt_id: int) -> int:
    """Where the last piece of the log that has arrived ends."""
    end = select(func.max(LogChunk.offset + LogChunk.size)).where(LogChunk.attempt_id == attempt_id)
    return session.scalar(end) or 0


def read(session: Session, attempt_id: int, offset: int, length: int) -> bytes:
    """At most `length` bytes of the log from `offset` on; fewer where no more has arrived, or a flood was thinned."""
    wanted = (
        select(LogChunk)
        .where(
            LogChunk.attempt_id == attempt_id,
            LogChunk.offset < offset + length,
            LogChunk.offset + LogChunk.size > offset,
        )
        .order_by(LogChunk.offset)
    )
    found = bytearray()
    for chunk in session.scalars(wanted):
        if chunk.offset > offset + len(found):
            break
        raw = _unpacked(chunk.zst)
        found += raw[offset + len(found) - chunk.offset : offset + length - chunk.offset]
    return bytes(found)


def _unpacked(zst: bytes) -> bytes:
    """Never more than a piece may have, whatever its frame says of its size; DamagedLog if it does not unpack."""
    decompressor = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
    try:
        return decompressor.stream_reader(zst).read(MAX_CHUNK_BYTES)
    except zstandard.ZstdError as error:
        raise DamagedLog(f"a piece of a running attempt's log is damaged: {error}") from error


def after_gap(session: Session, attempt_id: int, offset: int) -> int:
    """Where the log goes on if its bytes from `offset` on were left out of a flood; else `offset`."""
    later = select(func.min(LogChunk.offset)).where(LogChunk.attempt_id == attempt_id, LogChunk.offset >= offset)
    return session.scalar(later) or offset


def drop(session: Session, attempt_id: int) -> None:
    """Forget the pieces: the sealed log has them all."""
    run(session, _DROP, ended=attempt_id)
