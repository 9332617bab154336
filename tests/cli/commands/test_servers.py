"""The commands about servers, at an API without workers: a server is as ready as its row says."""

import json
import sqlite3
import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest
from eventually import eventually

from api.client.client import Client

KCORE = f"sha256:{'c' * 64}"


@pytest.fixture
def rows(site):
    """Write to the database of the site as a worker would."""
    database = sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30)
    yield database
    database.close()


@pytest.fixture
def kcore(rows) -> int:
    """A job that has made a kcore."""
    with rows:
        made = rows.execute(
            "INSERT INTO job (name, kind, project, spec, request, release, slot_kind, demand, priority, rank, held,"
            " state, version, cancel_requested, run_seconds, silence_seconds, log_bytes, tool_retries, created_at)"
            " VALUES ('compile', 'compile', 'default', '{}', '{}', 'r1', 'cpu', 'cpu', 5, 0, 0, 'succeeded', 1, 0, 1,"
            " 1, 1, 0, '2026-01-01 00:00:00')"
        ).lastrowid
        rows.execute(
            "INSERT INTO artifact (digest, tree, name, file_name, size, job_id, created_at)"
            " VALUES (?, 1, 'kcore', 'kcore', 1, ?, '2026-01-01 00:00:00')",
            (KCORE, made),
        )
    return made


def _becomes_ready(site, rows_of: str, name: str) -> None:
    """Give the server of that name an attempt and an endpoint, as soon as it is submitted."""

    def submitted() -> int | None:
        with Client(site.server, site.token) as client:
            found = client.jobs(name=name).items
            return found[0].id if found else None

    job = eventually(submitted)
    database = sqlite3.connect(rows_of, timeout=30)
    now = datetime.now(UTC).replace(tzinfo=None).isoformat(" ")
    with database:
        database.execute(
            "INSERT OR IGNORE INTO slot (id, host, name, kind, service_state)"
            " VALUES ('lab8.g0', 'lab8', 'g0', 'card_group', 'in_service')"
        )
        attempt = database.execute(
            "INSERT INTO attempt (job_id, number, slot_id, slot_ids, state, assigned_at, log_bytes)"
            " VALUES (?, 1, 'lab8.g0', '[\"lab8.g0\"]', 'running', ?, 0)",
            (job, now),
        ).lastrowid
        database.execute("UPDATE job SET state = 'running' WHERE id = ?", (job,))
        database.execute(
            "INSERT INTO endpoint (attempt_id, job_id, model, served_id, url, groups, ready_at)"
            " VALUES (?, ?, 'tiny', '/work/tiny', 'http://127.0.0.1:20001', 1, ?)",
            (attempt, job, now),
        )
    database.close()


def test_serve_waits_until_the_server_answers_and_says_how_to_ask_it(site, at_site, tx81, kcore):
    database = str(site.token_file.with_name("tx81.db"))
    worker = threading.Thread(target=_becomes_ready, args=(site, database, "served"))
    worker.start()

    done = tx81("serve", "tiny", "--kcore", kcore, "--name", "served", "--idle", "never", "--life", "2h", "--keep")
    worker.join()
    listed = tx81("endpoints", "--model", "tiny")

    assert done.code == 0
    assert "curl http://127.0.0.1:20001/v1/chat/completions" in done.out
    assert '"model": "/work/tiny"' in done.out
    assert "stopped: tx81 stop" in done.err
    assert "http://127.0.0.1:20001" in listed.out
    with Client(site.server, site.token) as client:
        spec = client.job(client.jobs(name="served").items[0].id).spec
    assert (spec["idle_seconds"], spec["life_seconds"], spec["keep"]) == (None, 7200, True)


def test_serve_says_why_a_server_that_ends_before_it_answers_has_ended(site, at_site, tx81, kcore):
    def cancelled() -> None:
        with Client(site.server, site.token) as client:
            found = eventually(lambda: client.jobs(name="hopeless").items)
            client.stop(found[0].id, "not now")

    stopper = threading.Thread(target=cancelled)
    stopper.start()

    done = tx81("serve", "tiny", "--kcore", kcore, "--name", "hopeless")
    stopper.join()

    assert done.code == 1
    assert "is cancelled: cancelled by admin: stopped before it was ready: not now" in done.err


def test_who_waits_for_the_end_of_a_server_is_told_that_it_has_to_be_stopped(site, at_site, tx81, kcore):
    def stopped() -> None:
        with Client(site.server, site.token) as client:
            found = eventually(lambda: client.jobs(name="endless").items)
            client.stop(found[0].id)

    spec = {"kind": "serve", "model": "tiny", "kcore": {"job": kcore, "artifact": "kcore"}}
    Path("serve.json").write_text(json.dumps({"name": "endless", "spec": spec, "placement": {"wait_for_slot": True}}))
    stopper = threading.Thread(target=stopped)
    stopper.start()

    done = tx81("submit", "serve.json", "--wait")
    stopper.join()

    assert "this waits until the server is stopped: tx81 stop " in done.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--kcore", "kcore.bin"), "--kcore: 'kcore.bin' is neither a job number nor a digest"),
        (("--kcore", "1", "--idle", "soon"), "--idle: 'soon' is not a duration"),
        (("--kcore", "1", "--groups", "9"), "spec.groups"),
        (("--kcore", "1", "--cards", "0"), "write cards 0..3"),
        ((), "kcore"),
    ],
)
def test_a_server_that_can_not_be_is_refused_in_one_line(at_site, tx81, words, told):
    refused = tx81("serve", "tiny", *words)

    assert refused.code == 2
    assert told in refused.err
    assert refused.err.count("\n") == 1


def test_all_servers_of_a_pipeline_are_stopped_at_once(at_site, tx81):
    done = tx81("stop", "--pipeline", 4711)

    assert (done.code, done.err) == (0, "no job matches\nthere is no pipeline 4711; tx81 pipelines lists them\n")


def test_stopping_what_is_no_server_is_refused_by_name(at_site, tx81, queued):
    refused = tx81("stop", queued)

    assert refused.code == 5
    assert "not a server" in refused.out
