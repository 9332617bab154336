"""Methods of paths: HEAD wherever there is GET, and `Allow` with all of them."""

import pytest
from builders.rows import a_job_row, an_attempt

from orchestrator.model.states import JobState
from orchestrator.storage import live_logs

STREAMS = {"/api/v1/events", "/api/v1/jobs/{job}/log/stream"}
ROOT = "http://testserver"


def documented(app, method: str) -> list[str]:
    return [path for path, methods in app.openapi()["paths"].items() if method in methods]


def filled(path: str) -> str:
    return path.replace("{job}", "1").replace("{", "").replace("}", "")


def test_405_names_every_method_of_the_path(app, http):
    # Below /v1, refusals are OpenAI's.
    paths = {path: methods for path, methods in app.openapi()["paths"].items() if not path.startswith("/v1/")}

    assert len(paths) > 40
    for path, methods in paths.items():
        answer = http.request("TRACE", ROOT + filled(path))

        allowed = set(answer.headers["Allow"].split(", "))
        assert answer.status_code == 405, path
        assert allowed >= {method.upper() for method in methods}, path
        assert ("HEAD" in allowed) == ("GET" in allowed), path


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/jobs", "GET, HEAD, POST"),
        ("PUT", "/jobs/1/cancel", "POST"),
        ("POST", "/uploads/sha256:x", "DELETE, GET, HEAD, PATCH"),
        ("GET", "/tokens/test", "DELETE"),
        ("POST", "/projects/default", "PUT"),
        ("OPTIONS", "/slots/%E4%B8%89", "GET, HEAD"),
        ("POST", f"{ROOT}/health/live", "GET, HEAD"),
        ("DELETE", f"{ROOT}/openapi.json", "GET, HEAD"),
    ],
)
def test_allow_is_of_the_path_and_not_of_one_route(http, method, path, allowed):
    answer = http.request(method, path)

    assert (answer.status_code, answer.headers["Allow"]) == (405, allowed)


@pytest.fixture
def job(database) -> int:
    with database.write() as session:
        job = a_job_row(session, state=JobState.RUNNING)
        live_logs.append(session, an_attempt(session, job).id, 0, b"one\ntwo\n")
        return job.id


def test_head_is_get_without_its_content(app, http, job):
    paths = [path for path in documented(app, "get") if path not in STREAMS]

    assert len(paths) > 30
    for path in [*map(filled, paths), "/api/v1/jobs/9", "/api/v1/jobs?limit=0", "/nothing"]:
        head, get = http.head(ROOT + path), http.get(ROOT + path)

        assert (path, head.status_code) == (path, get.status_code)
        assert head.content == b""
        assert _lasting(head.headers) == _lasting(get.headers), path


def test_head_of_a_part_says_which_part(http, job):
    head = http.head(f"/jobs/{job}/log", headers={"Range": "bytes=4-"})

    assert (head.status_code, head.headers["Content-Range"], head.content) == (206, "bytes 4-7/8", b"")


def test_head_needs_a_token_as_get_does(http):
    http.headers.pop("Authorization")

    assert http.head("/jobs").status_code == 401


@pytest.mark.parametrize("path", ["/events", "/jobs/1/log/stream"])
def test_head_of_a_stream_ends_after_its_headers(client, job, path):
    head = client._connection._http.head(path)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["Content-Type"].startswith("text/event-stream")


def test_head_changes_nothing_where_there_is_no_get(http, job):
    head = http.head(f"/jobs/{job}/cancel")

    assert (head.status_code, head.headers["Allow"]) == (405, "POST")
    assert http.get(f"/jobs/{job}").json()["state"] == "running"


def _lasting(headers) -> dict[str, str]:
    """Without what differs between two GET of a running job, whose times grow."""
    return {name: value for name, value in headers.items() if name not in ("etag", "content-length", "date")}
