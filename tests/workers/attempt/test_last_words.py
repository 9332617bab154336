"""What is known of a log when an attempt ends badly: how much there is, and its last bytes."""

import sqlite3
import sys
import threading

import pytest
from eventually import eventually

from orchestrator.jobs import lifecycle
from orchestrator.model.states import AttemptState
from orchestrator.storage import live_logs

QUANTIZE = {"kind": "quantize", "model": "tiny-model"}


@pytest.fixture
def database_url(sqlite_url):
    return sqlite_url  # so that a tool can take a table away


def test_a_lost_attempt_says_how_long_the_log_is_that_is_there(lab, cpu0):
    lab.tool("echo 'some words'; sleep 600")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    running = lab.run_aside(attempt_id, cpu0)
    eventually(lambda: shipped(lab, attempt_id))

    with lab.database.write() as session:
        now = lab.database.now(session)
        lifecycle.lose(session, attempt_id, now=now, why="its worker is silent", max_attempts=3)
    running.join(60)

    assert lab.attempt(attempt_id).state is AttemptState.LOST
    assert lab.attempt(attempt_id).log_bytes == shipped(lab, attempt_id) == len("some words\n")


def shipped(lab, attempt_id):
    with lab.database.read() as session:
        return live_logs.size(session, attempt_id)


def test_the_last_words_of_a_log_are_kept_although_disk_and_database_fail_together(lab, cpu0, caplog):
    away = (
        f"import sqlite3; sqlite3.connect('{file_of(lab)}', timeout=60).execute('ALTER TABLE log_chunk RENAME TO away')"
    )
    store = lab.settings.store
    lab.tool(f'{sys.executable} -c "{away}"; rm -rf {store}; echo x > {store}; echo the last words; exit 1')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    running = threading.Thread(target=lab.run, args=(attempt_id, cpu0))

    running.start()
    eventually(lambda: "end not reported; retrying" in caplog.text)
    with sqlite3.connect(file_of(lab), timeout=60) as back:
        back.execute("ALTER TABLE away RENAME TO log_chunk")
    running.join(60)

    with lab.database.read() as session:
        kept = live_logs.read(session, attempt_id, 0, 1000)
    assert b"the last words" in kept
    assert lab.attempt(attempt_id).log_bytes == len(kept)


def file_of(lab):
    return lab.settings.database.removeprefix("sqlite:///")
