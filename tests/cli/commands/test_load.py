"""`tx81 load` at an API without workers: a load ends when its row says so."""

import json
import sqlite3
import threading

import pytest
from eventually import eventually


@pytest.fixture
def database(site):
    return str(site.token_file.with_name("tx81.db"))


@pytest.fixture
def server(database) -> int:
    """A job that serves."""
    with sqlite3.connect(database, timeout=30) as rows:
        made = rows.execute(
            "INSERT INTO job (name, kind, project, spec, request, release, slot_kind, demand, priority, rank, held,"
            " state, version, cancel_requested, run_seconds, silence_seconds, log_bytes, tool_retries, created_at)"
            " VALUES ('asked', 'serve', 'default', '{}', '{}', 'r1', 'card_group', 'card_group', 5, 0, 0, 'running', 1,"
            " 0, 1, 1, 1, 0, '2026-01-01 00:00:00')"
        ).lastrowid
    rows.close()
    return made


def ended(database, name, spec):
    """End the load of that name with one number, as its worker would; keep its spec."""
    rows = sqlite3.connect(database, timeout=30, isolation_level=None)
    job, asked = eventually(
        lambda: rows.execute("SELECT id, spec FROM job WHERE name = ?", (name,)).fetchone(), within=30
    )
    spec.update(json.loads(asked))
    now = "2026-01-01 00:00:00"
    rows.execute("BEGIN IMMEDIATE")
    rows.execute(
        "INSERT OR IGNORE INTO slot (id, host, name, kind, service_state)"
        " VALUES ('lab8.g0', 'lab8', 'g0', 'card_group', 'in_service')"
    )
    attempt = rows.execute(
        "INSERT INTO attempt (job_id, number, slot_id, slot_ids, state, assigned_at, started_at, ended_at, log_bytes)"
        " VALUES (?, 1, 'lab8.g0', '[\"lab8.g0\"]', 'succeeded', ?, ?, ?, 0)",
        (job, now, now, now),
    ).lastrowid
    rows.execute(
        "INSERT INTO metric (attempt_id, name, value, unit, definition, count)"
        " VALUES (?, 'ttft_seconds_p50', 0.125, 's', 'ttft_seconds/sent_to_first', 20)",
        (attempt,),
    )
    rows.execute("UPDATE job SET state = 'succeeded', ended_at = ?, started_at = ? WHERE id = ?", (now, now, job))
    rows.execute("COMMIT")
    rows.close()


def test_a_load_is_submitted_as_its_options_say_and_its_numbers_are_printed(site, at_site, tx81, database, server):
    spec: dict = {}
    worker = threading.Thread(target=ended, args=(database, "measured", spec))
    worker.start()

    done = tx81(
        "load", server, "--prompts", site.tools["prompts"], "--rate", 2.5, "--requests", 20, "--seed", 7, "--shuffle",
        "--ttft", 2, "--max-tokens", 64, "--completion", "--name", "measured",
    )  # fmt: skip
    worker.join()

    assert done.code == 0, done.err
    assert "ttft_seconds_p50" in done.out
    assert "0.125" in done.out
    assert spec["endpoint"] == {"job": server, "artifact": "endpoint"}
    asked = {name: value for name, value in spec["load"].items() if value not in (None, False, 0)}
    assert asked == {
        "rate": 2.5, "requests": 20, "seed": 7, "shuffle": True, "interface": "completion",
        "goodput": {"ttft_seconds": 2.0, "tpot_seconds": None, "request_seconds": None},
    }  # fmt: skip
    assert (spec["max_tokens"], spec["program"]) == (64, "load")


def test_a_load_that_makes_no_sense_is_one_line(site, at_site, tx81, server):
    prompts = site.tools["prompts"]

    both = tx81("load", server, "--prompts", prompts, "--rate", 1, "--concurrency", 2)
    nobody = tx81("load", 999999, "--prompts", prompts)

    assert (both.code, nobody.code) == (2, 5)
    assert "spec.load: give concurrency (a closed loop) or rate (an open loop), not both" in both.err
    assert "there is no job 999999" in nobody.err
