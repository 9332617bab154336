"""Lines of a log by their numbers, and what is found in it, while it is shipped and after it is sealed."""

from pathlib import Path

import pytest
from builders.rows import a_job_row, a_release, an_attempt

from orchestrator.errors import BadRequest
from orchestrator.storage import live_logs, log_search
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.attempt_logs import AttemptLog
from orchestrator.storage.database import Database
from orchestrator.storage.log_search import LogQuery, search
from orchestrator.storage.log_windows import LONGEST, MOST_BYTES, lines_before, lines_from
from orchestrator.storage.logs import seal
from orchestrator.storage.tables import Attempt


@pytest.fixture(params=["live", "sealed"])
def log_of(request, database: Database, store: ArtifactStore, tmp_path: Path):
    def write(raw: bytes) -> AttemptLog:
        with database.write() as session:
            a_release(session)
            attempt = an_attempt(session, a_job_row(session)).id
            for offset in range(0, len(raw) if request.param == "live" else 0, 5000):
                live_logs.append(session, attempt, offset, raw[offset : offset + 5000])
        if request.param == "sealed":
            (tmp_path / "log").write_bytes(raw)
            seal(tmp_path / "log", tmp_path / "log.zst")
            digest = store.put_file(tmp_path / "log.zst").digest
            with database.write() as session:
                session.get_one(Attempt, attempt).log_digest = digest
        return AttemptLog(database, store, attempt)

    return write


def test_lines_are_found_by_their_numbers_in_both_directions(log_of):
    log = log_of("".join(f"line {n} 中\n" for n in range(1, 3001)).encode() + b"and more")

    middle = lines_from(log, 1500, 3)
    last = lines_before(log, None, 2)

    assert middle.total == last.total == 3001
    assert [(line.number, line.raw.decode()) for line in middle.lines] == [
        (n, f"line {n} 中") for n in (1500, 1501, 1502)
    ]
    assert [(line.number, line.raw) for line in last.lines] == [(3000, "line 3000 中".encode()), (3001, b"and more")]
    assert [line.number for line in lines_before(log, 1500, 2).lines] == [1498, 1499]
    assert [line.number for line in lines_from(log, 3001, 5).lines] == [3001]
    assert lines_from(log, 3002, 5).lines == lines_before(log, 1, 5).lines == ()


def test_a_window_of_long_lines_has_fewer_of_them(log_of):
    log = log_of(b"".join(b"%04d" % n + b"x" * 996 + b"\n" for n in range(1, 201)))

    forward, backward = lines_from(log, 11, 100).lines, lines_before(log, 101, 100).lines

    assert 0 < len(forward) < 100
    assert 0 < len(backward) < 100
    assert (forward[0].number, forward[0].raw[:4]) == (11, b"0011")
    assert (backward[-1].number, backward[-1].raw[:4]) == (100, b"0100")
    assert (backward[0].raw[:4], len(backward[0].raw)) == (b"%04d" % backward[0].number, 1000)


def test_of_a_line_beyond_every_window_the_end_is_given(log_of):
    log = log_of(b"a\n" + b"x" * (2 * MOST_BYTES) + b"end\nb\n")

    for (line,) in (lines_from(log, 2, 1).lines, lines_before(log, 3, 1).lines, lines_from(log, 2, 100).lines):
        assert (line.number, line.raw[-4:], len(line.raw)) == (2, b"xend", LONGEST - 1)
        assert line.left_out > MOST_BYTES
    assert [line.raw for line in lines_from(log, 3, 9).lines] == [b"b"]


def test_an_empty_log_has_no_lines(log_of):
    log = log_of(b"")

    assert lines_before(log, None, 10) == lines_from(log, 1, 10)
    assert search(log, LogQuery("a")).numbers == []


def test_a_whole_log_is_searched_line_by_line(log_of, monkeypatch):
    monkeypatch.setattr(log_search, "BLOCK", 32)
    text = "one\nERROR İ\nthree\nerror: 17\n显存不足\nx\ny there\n\nten\nnine\nx\n\x1b[31mred \x1b[0mERROR error"
    log = log_of(text.encode())
    expected = {
        LogQuery("error"): [2, 4, 12],
        LogQuery("error", case=True): [4, 12],
        LogQuery("显存"): [5],
        LogQuery("red ERROR"): [12],
        LogQuery(r"^error: \d+$", pattern=True): [4],
        LogQuery(r"x\s*y", pattern=True): [],
        LogQuery(r"[^a]here", pattern=True): [7],
        LogQuery(r"^\s*$", pattern=True): [8],
    }

    assert {wanted: search(log, wanted).numbers for wanted in expected} == expected


def test_the_numbers_next_to_a_line_are_given_and_all_matches_counted(log_of, monkeypatch):
    monkeypatch.setattr(log_search, "MOST_NUMBERS", 3)
    monkeypatch.setattr(log_search, "BLOCK", 64)
    log = log_of(b"a\nb\n" * 20)

    found = search(log, LogQuery("a"), near=20)

    assert (found.matches, found.earlier, found.complete) == (20, 7, True)


def test_a_pattern_that_takes_for_ever_ends_with_the_time_limit(log_of, monkeypatch):
    monkeypatch.setattr(log_search, "LONGEST_SEARCH", 0.05)

    found = search(log_of(b"a" * 4000 + b"\n"), LogQuery(r"(a|aa)+$b", pattern=True))

    assert not found.complete


def test_what_cannot_be_searched_for_is_refused(log_of):
    log = log_of(b"x")

    for wanted in (LogQuery(""), LogQuery("a\nb"), LogQuery("(", pattern=True), LogQuery("[", pattern=True)):
        with pytest.raises(BadRequest):
            search(log, wanted)
