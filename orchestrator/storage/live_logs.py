"""The log of a running attempt, in compressed pieces in SQL, so that it survives the worker's death.

A piece is named by its byte offset in the raw log; a piece sent twice changes nothing. When the attempt ends the whole
log is sealed as one artifact (`orchestrator.storage.logs`) and the pieces are dropped.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

import zstandard
from sqlalchemy import bindparam, delete, func, select, update
from sqlalchemy.orm import Session

from orchestrator.storage.database import run
from orchestrator.storage.logs import DamagedLog
from orchestrator.storage.tables import Attempt, Base, LogChunk

MAX_CHUNK_BYTES = 64 * 1024
MOST_TIMES = 500
"""Times kept of a sealed log: some 10 KB in its attempt's row."""
_LARGEST_WINDOW = 1 << 20

_CHUNK = Base.metadata.tables["log_chunk"]
_ATTEMPT = Base.metadata.tables["attempt"]
_OF_ENDED = _CHUNK.c.attempt_id == bindparam("ended")
_PIECES = select(_CHUNK.c.offset, _CHUNK.c.at).where(_OF_ENDED).order_by(_CHUNK.c.offset)
_KEEP_TIMES = (
    update(_ATTEMPT)
    .where(_ATTEMPT.c.id == bindparam("ended"), _ATTEMPT.c.log_times.is_(None))
    .values(log_times=bindparam("kept"))
)
_DROP = delete(_CHUNK).where(_OF_ENDED)


@dataclass(frozen=True)
class LogTime:
    """From which byte on a log was shipped at a moment, or somewhat later."""

    offset: int
    at: datetime


def append(session: Session, attempt_id: int, offset: int, raw: bytes, at: datetime | None = None) -> None:
    """Store `raw` (at most `MAX_CHUNK_BYTES`) as the log's bytes from `offset` on, which were shipped `at` a moment."""
    if raw and session.get(LogChunk, (attempt_id, offset)) is None:
        zst = zstandard.ZstdCompressor(level=3).compress(raw)
        newlines = raw.count(b"\n")
        session.add(LogChunk(attempt_id=attempt_id, offset=offset, size=len(raw), newlines=newlines, zst=zst, at=at))


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


def newlines(session: Session, attempt_id: int) -> int:
    """How many have arrived."""
    return session.scalar(select(func.sum(LogChunk.newlines)).where(LogChunk.attempt_id == attempt_id)) or 0


def offset_of_line(session: Session, attempt_id: int, number: int) -> int:
    """Where line `number` begins, counting from 0 those that have arrived; the end of the log for one that has not."""
    before = 0
    pieces = select(LogChunk.offset, LogChunk.newlines).where(LogChunk.attempt_id == attempt_id)
    for offset, count in session.execute(pieces.order_by(LogChunk.offset)) if number > 0 else ():
        if before + count >= number:
            raw = _unpacked(session.get_one(LogChunk, (attempt_id, offset)).zst)
            return offset + after_newlines(raw, number - before)
        before += count
    return 0 if number <= 0 else size(session, attempt_id)


def after_newlines(raw: bytes, count: int) -> int:
    """The place after this many newlines, which `raw` has."""
    position = -1
    for _ in range(count):
        position = raw.index(b"\n", position + 1)
    return position + 1


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


def times(session: Session, attempt_id: int) -> list[LogTime]:
    """When which part of the log arrived, in its order, while it is shipped and after it is sealed.

    Empty for a log from before this was noted; at most `MOST_TIMES` of a sealed log. The log of an attempt that ended
    before a piece was shipped is all of its end."""
    kept, ended_at = session.execute(
        select(Attempt.log_times, Attempt.ended_at).where(Attempt.id == attempt_id)
    ).one_or_none() or (None, None)
    if kept is not None:
        if not kept["offsets"]:
            return [] if ended_at is None else [LogTime(0, ended_at)]
        pairs = zip(kept["offsets"], kept["seconds"], strict=True)
        return [LogTime(offset, datetime.fromtimestamp(seconds, UTC)) for offset, seconds in pairs]
    shipped = select(LogChunk.offset, LogChunk.at).where(LogChunk.attempt_id == attempt_id, LogChunk.at.is_not(None))
    return [LogTime(offset, at) for offset, at in session.execute(shipped.order_by(LogChunk.offset)) if at is not None]


def drop(session: Session, attempt_id: int) -> None:
    """Forget the pieces, but not when they arrived: the sealed log has them all."""
    pieces = run(session, _PIECES, ended=attempt_id).all()
    timed = [(piece.offset, piece.at) for piece in pieces if piece.at is not None]
    few = timed[:: len(timed) // MOST_TIMES + 1]
    kept = {"offsets": [offset for offset, _ in few], "seconds": [round(at.timestamp(), 3) for _, at in few]}
    run(session, _KEEP_TIMES, ended=attempt_id, kept=kept)
    if pieces:
        run(session, _DROP, ended=attempt_id)
