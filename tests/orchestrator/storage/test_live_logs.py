"""The log of a running attempt, in pieces."""

from datetime import timedelta

import pytest
import zstandard
from builders.rows import A_MOMENT, a_job_row, a_release, an_attempt

from orchestrator.storage import live_logs
from orchestrator.storage.database import Database
from orchestrator.storage.logs import DamagedLog
from orchestrator.storage.tables import Attempt, LogChunk


@pytest.fixture
def attempt(database: Database) -> int:
    with database.write() as session:
        a_release(session)
        return an_attempt(session, a_job_row(session)).id


def _append(database: Database, attempt: int, *pieces: tuple[int, bytes]) -> None:
    with database.write() as session:
        for offset, raw in pieces:
            live_logs.append(session, attempt, offset, raw)


def test_any_range_is_read_across_pieces(database: Database, attempt: int):
    _append(database, attempt, (0, b"abc"), (3, b"\xff\xfe"), (5, b"xyz"))

    with database.read() as session:
        assert live_logs.read(session, attempt, 0, 100) == b"abc\xff\xfexyz"
        assert live_logs.read(session, attempt, 2, 4) == b"c\xff\xfex"
        assert live_logs.read(session, attempt, 8, 4) == b""


def test_a_piece_is_never_unpacked_to_more_than_a_piece_has(database: Database, attempt: int):
    _append(database, attempt, (0, b"abc"))
    with database.write() as session:
        chunk = session.get_one(LogChunk, (attempt, 0))
        chunk.zst, chunk.size = zstandard.ZstdCompressor().compress(bytes(1 << 20)), 1 << 20

    with database.read() as session:
        assert len(live_logs.read(session, attempt, 0, 1 << 20)) == live_logs.MAX_CHUNK_BYTES


def test_a_piece_that_claims_a_giant_window_is_damage_and_not_memory(database: Database, attempt: int):
    _append(database, attempt, (0, b"abc"))
    with database.write() as session:
        session.get_one(LogChunk, (attempt, 0)).zst = zstandard.ZstdCompressor().compress(bytes(1 << 26))

    with database.read() as session, pytest.raises(DamagedLog):
        live_logs.read(session, attempt, 0, 3)


def test_a_piece_sent_twice_is_kept_once(database: Database, attempt: int):
    _append(database, attempt, (0, b"abc"))
    _append(database, attempt, (0, b"abc"), (3, b"d"))

    with database.read() as session:
        assert live_logs.read(session, attempt, 0, 100) == b"abcd"


def test_a_thinned_flood_never_shifts_an_offset(database: Database, attempt: int):
    _append(database, attempt, (0, b"abc"), (100, b"xyz"))

    with database.read() as session:
        assert live_logs.read(session, attempt, 0, 1000) == b"abc"
        assert live_logs.after_gap(session, attempt, 3) == 100
        assert live_logs.read(session, attempt, 100, 10) == b"xyz"
        assert live_logs.after_gap(session, attempt, 103) == 103


def test_dropped_pieces_are_gone(database: Database, attempt: int):
    _append(database, attempt, (0, b"abc"))

    with database.write() as session:
        live_logs.drop(session, attempt)

    with database.read() as session:
        assert live_logs.size(session, attempt) == 0


def test_a_log_of_which_no_piece_was_shipped_is_of_the_end_of_its_attempt(database: Database, attempt: int):
    with database.write() as session:
        live_logs.drop(session, attempt)
        running = live_logs.times(session, attempt)
        session.get_one(Attempt, attempt).ended_at = A_MOMENT
        session.flush()

        assert (running, live_logs.times(session, attempt)) == ([], [live_logs.LogTime(0, A_MOMENT)])


def test_times_of_a_log_stay_when_its_pieces_are_dropped(database: Database, attempt: int):
    moments = [A_MOMENT + timedelta(seconds=number) for number in range(2 * live_logs.MOST_TIMES)]
    with database.write() as session:
        for number, at in enumerate(moments):
            live_logs.append(session, attempt, number, b"x", at)
        shipped = live_logs.times(session, attempt)
        live_logs.drop(session, attempt)

    with database.read() as session:
        kept = live_logs.times(session, attempt)
        assert live_logs.size(session, attempt) == 0
    assert [(each.offset, each.at) for each in shipped] == list(enumerate(moments))
    assert 100 < len(kept) <= live_logs.MOST_TIMES
    assert set(kept) <= set(shipped)
