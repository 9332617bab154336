import os
import subprocess
from pathlib import Path

import pytest
from builders.rows import a_job_row, an_artifact, an_attempt

from orchestrator.model.states import AttemptState
from orchestrator.storage import live_logs
from orchestrator.storage.logs import seal
from orchestrator.storage.tables import Attempt

CONTENT = bytes(range(256)) * 4


@pytest.fixture
def artifact(database, store) -> int:
    stored = store.put_bytes(CONTENT)
    with database.write() as session:
        return an_artifact(session, digest=stored.digest, size=stored.size, file_name="kcore.bin").id


@pytest.fixture
def tree(database, store, tmp_path: Path) -> int:
    folder = tmp_path / "tree"
    (folder / "sub" / "empty").mkdir(parents=True)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "sub" / "数据.bin").write_bytes(CONTENT)
    Path(os.fsdecode(os.fsencode(folder / "sub") + b"/\xff.bin")).write_bytes(b"odd")
    stored = store.put_tree(folder)
    with database.write() as session:
        return an_artifact(session, digest=stored.digest, tree=True, name="kcore", file_name="chip_out").id


@pytest.fixture(params=["live", "sealed"])
def log(request, database, store, tmp_path: Path) -> int:
    """The number of a job with a log of four lines, once in pieces in SQL and once sealed in the store."""
    content = "一\ntwo\nthree\n四".encode()
    with database.write() as session:
        job = a_job_row(session)
        attempt = an_attempt(session, job, state=AttemptState.SUCCEEDED)
        for offset in range(0, len(content), 5):
            live_logs.append(session, attempt.id, offset, content[offset : offset + 5])
        if request.param == "sealed":
            (tmp_path / "raw").write_bytes(content)
            seal(tmp_path / "raw", tmp_path / "zst")
            session.get_one(Attempt, attempt.id).log_digest = store.put_file(tmp_path / "zst").digest
            live_logs.drop(session, attempt.id)
        return job.id


def test_a_file_is_downloaded_as_it_was_stored(http, artifact):
    answer = http.get(f"/artifacts/{artifact}/content")

    assert answer.content == CONTENT
    assert answer.headers["Content-Length"] == str(len(CONTENT))
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    ("asked", "part"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=10-19", slice(10, 20)),
        ("bytes=1000-", slice(1000, None)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=-99999", slice(None)),
        ("bytes=1000-99999", slice(1000, None)),
    ],
)
def test_a_range_gives_that_part(http, artifact, asked, part):
    answer = http.get(f"/artifacts/{artifact}/content", headers={"Range": asked})

    assert answer.status_code == 206
    assert answer.content == CONTENT[part]
    first = range(len(CONTENT))[part][0]
    assert answer.headers["Content-Range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(CONTENT)}"


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=9999-10000", "bytes=-0"])
def test_a_range_beyond_the_end_is_refused_with_the_size(http, artifact, asked):
    answer = http.get(f"/artifacts/{artifact}/content", headers={"Range": asked})

    assert (answer.status_code, answer.json()["code"]) == (416, "range_beyond_end")
    assert answer.headers["Content-Range"] == f"bytes */{len(CONTENT)}"


@pytest.mark.parametrize(
    "asked", ["bytes=5-1", "bytes=-", "bytes=a-b", "lines=1-2", "bytes=0-1,3-4", "bytes=" + "9" * 99]
)
def test_a_range_that_makes_no_sense_is_ignored(http, artifact, asked):
    answer = http.get(f"/artifacts/{artifact}/content", headers={"Range": asked})

    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("plain.bin", "plain.bin"),
        ('a"; filename="evil.exe', "a%22%3B%20filename%3D%22evil.exe"),
        ("a\r\nSet-Cookie: x=1", "a%0D%0ASet-Cookie%3A%20x%3D1"),
        ("../../etc/passwd", "passwd"),
        ("答案.jsonl", "%E7%AD%94%E6%A1%88.jsonl"),
    ],
)
def test_a_file_name_cannot_leave_its_header(http, database, store, name, told):
    stored = store.put_bytes(b"x")
    with database.write() as session:
        number = an_artifact(session, digest=stored.digest, size=1, file_name=name).id

    answer = http.get(f"/artifacts/{number}/content")

    assert answer.headers["Content-Disposition"] == f"attachment; filename*=utf-8''{told}"
    assert "Set-Cookie" not in answer.headers


def test_a_tree_lists_its_files_and_gives_each_by_the_path_it_shows(http, tree):
    entries = http.get(f"/artifacts/{tree}/entries").json()["items"]

    contents = {
        entry["path"]: http.get(f"/artifacts/{tree}/content", params={"path": entry["path"]}).content
        for entry in entries
    }

    assert contents == {"run.sh": b"#!/bin/sh\n", "sub/数据.bin": CONTENT, "sub/\\xff.bin": b"odd"}
    assert [entry["path"] for entry in entries if entry["executable"]] == ["run.sh"]


def test_a_file_of_a_tree_can_be_read_in_parts(http, tree):
    answer = http.get(f"/artifacts/{tree}/content", params={"path": "sub/数据.bin"}, headers={"Range": "bytes=255-256"})

    assert (answer.status_code, answer.content) == (206, b"\xff\x00")


@pytest.mark.parametrize(
    "path", ["../run.sh", "/etc/passwd", "sub", "sub/../run.sh", "", ".", "run.sh\x00", "//run.sh"]
)
def test_a_path_that_is_not_in_the_tree_is_not_found(http, tree, path):
    answer = http.get(f"/artifacts/{tree}/content", params={"path": path})

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_artifact")


def test_a_whole_tree_is_a_tar_that_gives_the_folder_back(http, tree, tmp_path):
    answer = http.get(f"/artifacts/{tree}/content")

    out = tmp_path / "out"
    out.mkdir()
    subprocess.run(["tar", "-x"], cwd=out, input=answer.content, check=True)
    assert answer.headers["Content-Type"] == "application/x-tar"
    assert (out / "sub" / "数据.bin").read_bytes() == CONTENT
    assert os.access(out / "run.sh", os.X_OK)
    assert (out / "sub" / "empty").is_dir()
    assert b"\xff.bin" in os.listdir(os.fsencode(out / "sub"))


def test_an_artifact_that_was_pruned_says_so(http, database):
    with database.write() as session:
        number = an_artifact(session).id

    answer = http.get(f"/artifacts/{number}/content")

    assert (answer.status_code, answer.json()["code"]) == (404, "unknown_artifact")


def test_a_log_is_read_byte_for_byte(http, log):
    answer = http.get(f"/jobs/{log}/log")

    assert answer.text == "一\ntwo\nthree\n四"
    assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_a_part_of_a_log_is_counted_in_bytes(http, log):
    part = http.get(f"/jobs/{log}/log", headers={"Range": "bytes=4-7"})
    beyond = http.get(f"/jobs/{log}/log", headers={"Range": "bytes=100-"})

    assert (part.status_code, part.content) == (206, b"two\n")
    assert beyond.status_code == 416


@pytest.mark.parametrize(
    ("lines", "told"), [(0, ""), (1, "四"), (2, "three\n四"), (4, "一\ntwo\nthree\n四"), (99, "一\ntwo\nthree\n四")]
)
def test_the_tail_of_a_log_is_so_many_lines_and_says_where_it_begins(http, log, lines, told):
    answer = http.get(f"/jobs/{log}/log?tail={lines}")

    whole = "一\ntwo\nthree\n四".encode()
    assert answer.text == told
    assert int(answer.headers["Log-Offset"]) == len(whole) - len(told.encode())


def test_a_newline_at_the_end_is_no_line_of_its_own(http, database):
    with database.write() as session:
        job = a_job_row(session)
        live_logs.append(session, an_attempt(session, job).id, 0, b"a\nb\n")
        number = job.id

    assert http.get(f"/jobs/{number}/log?tail=1").text == "b\n"


def test_an_earlier_attempts_log_can_be_asked_for(http, database):
    with database.write() as session:
        job = a_job_row(session)
        for attempt in (1, 2):
            live_logs.append(session, an_attempt(session, job, number=attempt).id, 0, b"try %d" % attempt)
        number = job.id

    told = [http.get(f"/jobs/{number}/log{query}").text for query in ("", "?attempt=1", "?attempt=2")]
    missing = http.get(f"/jobs/{number}/log?attempt=3")

    assert told == ["try 2", "try 1", "try 2"]
    assert "no attempt 3" in missing.json()["detail"]


def test_an_empty_log_is_empty(http, database):
    with database.write() as session:
        job = a_job_row(session)
        an_attempt(session, job)
        number = job.id

    answer = http.get(f"/jobs/{number}/log")

    assert (answer.status_code, answer.content) == (200, b"")
