"""Parts of a log, with the time of each line."""

import json
import sqlite3
from collections.abc import Iterator

import pytest
import zstandard

LINES = [f"step {number}" for number in range(6)]
HALVES = (("2026-01-01 10:00:00", LINES[:3]), ("2026-01-01 11:00:00", LINES[3:]))


@pytest.fixture
def logged(site, queued, monkeypatch) -> Iterator[int]:
    """A job whose log has three lines of ten o'clock and three of eleven, in UTC."""
    monkeypatch.setenv("TZ", "UTC")
    with sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30) as database:
        database.execute(
            "INSERT OR IGNORE INTO slot (id, host, name, kind, service_state)"
            " VALUES ('loghost.cpu0', 'loghost', 'cpu0', 'cpu', 'in_service')"
        )
        (attempt,) = database.execute(
            "INSERT INTO attempt (job_id, number, slot_id, slot_ids, state, assigned_at, log_bytes)"
            " VALUES (?, 1, 'loghost.cpu0', ?, 'running', '2026-01-01 00:00:00', 0) RETURNING id",
            (queued, json.dumps(["loghost.cpu0"])),
        ).fetchone()
        offset = 0
        for at, lines in HALVES:
            raw = "".join(f"{line}\n" for line in lines).encode()
            zst = zstandard.ZstdCompressor().compress(raw)
            database.execute(
                "INSERT INTO log_chunk (attempt_id, offset, size, newlines, zst, at) VALUES (?, ?, ?, ?, ?, ?)",
                (attempt, offset, len(raw), len(lines), zst, at),
            )
            offset += len(raw)
    yield queued
    with sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30) as database:
        database.execute("DELETE FROM log_chunk WHERE attempt_id = ?", (attempt,))
        database.execute("DELETE FROM attempt WHERE id = ?", (attempt,))
        database.execute("DELETE FROM slot WHERE host = 'loghost'")  # other tests name slots that nobody has registered


@pytest.fixture
def cached(site, logged, tx81) -> Iterator[int]:
    """A job that took the result of the one that is logged."""
    copied = tx81("submit", "job.json", "-o", "json").document["id"]
    with sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30) as database:
        database.execute("UPDATE job SET state = 'succeeded', cached_from = ? WHERE id = ?", (logged, copied))
    yield copied
    with sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30) as database:
        database.execute("UPDATE job SET state = 'cancelled', cached_from = NULL WHERE id = ?", (copied,))


@pytest.mark.parametrize("words", [["logs"], ["logs", "-f"], ["logs", "--since", "2026-01-01"], ["answers"]])
def test_of_a_job_answered_from_the_cache_the_job_that_ran_is_shown_and_named(tx81, logged, cached, words, site):
    if "-f" in words:
        with sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30) as database:
            database.execute("UPDATE job SET state = 'succeeded' WHERE id = ?", (logged,))
            database.execute("UPDATE attempt SET state = 'succeeded' WHERE job_id = ?", (logged,))
    ran, of_attempt = tx81(*words, cached), tx81(*words, cached, "--attempt", 1)

    assert ran.code == 0
    assert (ran.out.splitlines() == LINES) == ("logs" in words)
    assert f"job {cached} was answered from the cache" in ran.err
    assert f"tx81 {words[0]} {logged}" in ran.err
    assert (of_attempt.code, of_attempt.out) == (5, "")
    assert f"tx81 {words[0]} {logged}" in of_attempt.err


@pytest.mark.parametrize(
    ("words", "lines"),
    [
        ([], LINES),
        (["--tail", 2], LINES[-2:]),
        (["--tail", 0], []),
        (["--grep", "[24]$"], ["step 2", "step 4"]),
        (["--tail", 3, "--grep", "4"], ["step 4"]),
        (["--since", "2026-01-01T10:30:00Z"], LINES[3:]),
        (["--since", "2026-01-01T10:30:00Z", "--tail", 5], LINES[3:]),
        (["--since", "2026-01-01T12:00:00Z"], []),
    ],
)
def test_only_the_lines_that_are_asked_for_are_printed(tx81, logged, words, lines):
    ran = tx81("logs", logged, *words)

    assert (ran.code, ran.err) == (0, "")
    assert ran.out.splitlines() == lines


def test_each_line_begins_with_the_time_at_which_it_arrived_and_its_zone(tx81, logged):
    printed = tx81("logs", logged, "--timestamps").out.splitlines()

    assert [line.rpartition("  ")[2] for line in printed] == LINES
    assert len({line.rpartition("  ")[0] for line in printed}) == 2
    assert all(line[19] in "+-" for line in printed)


def test_a_log_without_known_times_says_so(site, tx81, logged):
    with sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30) as database:
        database.execute("UPDATE log_chunk SET at = NULL")

    ran = tx81("logs", logged, "--timestamps")

    assert ran.code == 0
    assert "no times are known" in ran.err
    assert ran.out.splitlines()[0] == "?  step 0"


def test_what_is_no_regular_expression_is_wrong_usage(tx81, logged):
    ran = tx81("logs", logged, "--grep", "[")

    assert ran.code == 2
    assert "--grep" in ran.err
