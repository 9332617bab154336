import logging

import httpx2
import pytest
from builders.rows import a_job_row, a_model, a_release
from starlette.testclient import TestClient

from orchestrator.model.states import JobState
from orchestrator.storage.tables import Base, Job

JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer tx81_wrong", "Basic dXNlcjpwYXNz", "Bearer \xff"])
def test_nobody_comes_in_without_a_known_token(http, header):
    http.headers.pop("Authorization")
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}

    answer = http.get("/jobs", headers=headers)

    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "unauthenticated"


def test_every_route_below_the_root_needs_a_token(app):
    document = app.openapi()
    guarded = [(path, method) for path, methods in document["paths"].items() for method in methods if "/api/" in path]

    with TestClient(app) as http:
        statuses = {
            (path, method): http.request(method, path.replace("{", "").replace("}", "")).status_code
            for path, method in guarded
        }

    assert len(statuses) > 20
    assert set(statuses.values()) == {401}


def test_health_is_told_without_a_token(http):
    http.headers.pop("Authorization")

    live, ready = http.get("http://testserver/health/live"), http.get("http://testserver/health/ready")

    assert (live.status_code, ready.status_code) == (200, 200)
    assert ready.json()["dispatcher"] is False


def test_a_strangers_body_is_never_read(http):
    http.headers.pop("Authorization")

    answer = http.post("/jobs", content=b"{" * 100, headers=JSON)

    assert answer.status_code == 401


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "JSON object"),
        (b"{", "not JSON"),
        (b"[]", "JSON object"),
        (b"null", "JSON object"),
        (b'"text"', "JSON object"),
        (b'{"spec": NaN}', "NaN"),
        (b'{"spec": -Infinity}', "Infinity"),
        (b'{"spec": 1e999}', "too large"),
        (b'{"priority": 9223372036854775808}', "too large"),
        (b'{"priority": ' + b"9" * 5000 + b"}", "number"),
        (b"[" * 200_000, "nested"),
        (b'{"spec":' + b"[" * 500 + b"]" * 500 + b"}", "nested"),
        (b'{"name": "\xff"}', "UTF-8"),
        (b'{"name": "a\\u0000b"}', "NUL"),
        (b'{"na\\u0000me": 1}', "NUL"),
        (b'{"name": "\\ud800"}', "surrogate"),
    ],
)
def test_a_body_that_sql_cannot_hold_or_nobody_can_read_is_refused(http, body, told):
    answer = http.post("/jobs", content=body, headers=JSON)

    assert answer.status_code == 422
    assert told in answer.json()["detail"]


@pytest.mark.parametrize("number", ["9223372036854775808", "9" * 5000, "-" + "9" * 5000, "1e400", "1" + "0" * 30])
def test_a_number_that_is_too_large_is_refused_with_its_field(http, number):
    body = f'{{"jobs": [{{"spec": {{"kind": "quantize", "model": "m"}}, "priority": {number}}}]}}'

    answer = http.post("/jobs/bulk", content=body, headers=JSON)

    assert (answer.status_code, answer.json()["field"]) == (422, "jobs.0.priority")


@pytest.mark.parametrize("number", ["9" * 5000, "-" + "9" * 5000, str(2**63), "true", "1.0"])
def test_a_header_that_is_no_number_of_ours_is_refused_with_its_name(http, number):
    answer = http.patch(f"/uploads/sha256:{'a' * 64}", content=b"x", headers={"Upload-Offset": number})

    assert (answer.status_code, answer.json()["field"]) == (422, "Upload-Offset")


def test_a_size_with_more_digits_than_any_number_is_too_large(http):
    answer = http.post("/jobs", content=b"{}", headers={**JSON, "Content-Length": "9" * 5000})

    assert answer.status_code == 413


def test_a_body_of_another_type_is_refused(http):
    answer = http.post("/jobs", content=b'{"spec": {}}', headers={"Content-Type": "text/plain"})

    assert answer.status_code == 422


def test_a_body_that_announces_too_much_is_refused(http, settings):
    answer = http.post("/jobs", content=b" " * (settings.max_body_bytes + 1), headers=JSON)

    assert answer.status_code == 413
    assert answer.json()["code"] == "body_too_large"


def test_a_body_in_chunks_that_never_said_how_long_it_is_is_counted(client, settings):
    pieces = (b" " * 65536 for _ in range(settings.max_body_bytes // 65536 + 1))

    answer = client._connection._http.post("/jobs", content=pieces, headers=JSON)

    assert answer.status_code == 413


def test_a_refused_field_is_named_as_the_client_wrote_it(http):
    spec = {"kind": "infer", "model": "m", "kcore": {"job": 1, "artifact": "kcore"}, "prompts": {"path": "relative"}}

    problem = http.post("/jobs", json={"spec": {**spec, "colour": 1}}).json()

    assert [(error["field"], error["message"]) for error in problem["errors"]] == [
        ("spec.prompts.path", "must be an absolute path of the server, as server:/srv/q.txt"),
        ("spec.colour", "unknown field"),
    ]


@pytest.mark.parametrize("sizes", [[9], [0], [1, 9], [-1, 5]])
def test_a_batch_size_that_no_host_has_is_refused_at_its_place(http, sizes):
    file = {"digest": f"sha256:{'c' * 64}"}
    spec = {"kind": "infer", "model": "m", "kcore": file, "prompts": file, "batch_sizes": sizes}

    answer = http.post("/jobs", json={"spec": spec})

    assert answer.status_code == 422
    assert answer.json()["field"].startswith("spec.batch_sizes.")


@pytest.mark.parametrize(
    ("path", "field", "told"),
    [
        ("/jobs?stat=failed", "stat", "known: batch, cursor, failed_after, failure, kind"),
        ("/jobs?kind=bake", "kind", "convert"),
        ("/slots?all=1", "all", "unknown query parameter"),
    ],
)
def test_a_misspelled_filter_does_not_answer_with_everything(http, path, field, told):
    answer = http.get(path)

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert told in answer.json()["detail"]


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"placement": {"slot": "cpu0"}}, "placement.slot"),
        ({"placement": {"slot": "g3", "exclude": ["g3"]}}, "placement.exclude"),
        ({"name": "推理"}, "name"),
    ],
)
def test_a_refusal_of_the_request_around_a_spec_names_its_field(http, facts, field):
    digest = {"digest": f"sha256:{'a' * 64}"}
    spec = {"kind": "infer", "model": "m", "kcore": digest, "prompts": digest}

    answer = http.post("/jobs", json={"spec": spec, **facts})

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert "pattern" not in answer.json()["detail"]


def test_a_refused_job_of_a_bulk_or_a_pipeline_is_named_with_its_place(http, database):
    with database.write() as session:
        a_release(session)
        model = a_model(session).name
    good = {"spec": {"kind": "quantize", "model": model}}
    bad = {"spec": {"kind": "quantize", "model": "unknown"}}

    bulk = http.post("/jobs/bulk", json={"jobs": [good, bad]})
    pipeline = http.post("/pipelines", json={"name": "p", "jobs": {"first": good, "second": bad}})

    assert (bulk.status_code, bulk.json()["field"]) == (422, "jobs.1.spec.model")
    assert (pipeline.status_code, pipeline.json()["field"]) == (422, "jobs.second.spec.model")
    assert http.get("/jobs").json()["items"] == []


def test_input_is_not_echoed(http):
    answer = http.post("/jobs", json={"spec": {"kind": "quantize", "model": "s3cret!"}})

    assert "s3cret" not in answer.text


@pytest.mark.parametrize("limit", [2**31, 2**62])
@pytest.mark.parametrize("name", ["queue_seconds", "run_seconds", "silence_seconds", "total_seconds"])
def test_limits_that_no_column_holds_are_refused(http, database, name, limit):
    with database.write() as session:
        a_release(session)
        model = a_model(session).name

    answer = http.post("/jobs", json={"spec": {"kind": "quantize", "model": model}, "limits": {name: limit}})

    assert answer.status_code == 422


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/0",
        "/jobs/-1",
        "/jobs/1.5",
        "/jobs/x",
        f"/jobs/{2**63}",
        f"/jobs/{10**100}",
        f"/jobs/{'9' * 5000}",
        "/jobs/1.0",
        "/jobs/1_0",
        "/jobs/%201",
        "/jobs/+1",
        "/jobs/true",
        "/jobs?limit=true",
        "/jobs?limit=1_0",
        f"/jobs?limit={'9' * 5000}",
        f"/jobs?batch={'9' * 5000}",
        f"/jobs/1/log?tail={'9' * 5000}",
        f"/events?after={'9' * 5000}",
        f"/events?seconds={'9' * 5000}",
        "/events?seconds=nan",
        "/jobs?limit=0",
        "/jobs?limit=501",
        "/jobs?state=asleep",
        "/jobs?name=%00",
        "/jobs?q=%00",
        "/jobs?cursor=%FF",
        "/jobs?cursor=MS4y",
        f"/jobs?cursor={'x' * 101}",
        f"/jobs?pipeline={2**63}",
        "/models/%00",
        "/models/-v",
        "/slots/%2e%2e",
        "/artifacts?digest=sha256:x",
        f"/events?after={2**63}",
        "/events?job=x",
        "/jobs/1/answers?attempt=0",
    ],
)
def test_parameters_out_of_bounds_are_refused(http, database, path):
    with database.write() as session:
        a_job_row(session)

    answer = http.get(path)

    assert answer.status_code in {404, 422}
    assert answer.headers["Content-Type"] == "application/problem+json"


@pytest.mark.parametrize(
    "path",
    [
        "/jobs/9",
        "/jobs/9/log",
        "/jobs/9/log/stream",
        "/jobs/9/answers",
        "/jobs/9/events",
        "/pipelines/9",
        "/artifacts/9",
        "/artifacts/9/content",
        "/models/m",
        "/releases/r",
        "/slots/h.g1",
        "/nothing",
    ],
)
def test_what_is_not_there_is_a_problem_with_status_404(http, path):
    answer = http.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_method_that_a_route_does_not_have_is_a_problem(http):
    answer = http.delete("/jobs")

    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")


@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_an_unexpected_error_has_one_traceback_in_the_log(served, settings, token, database, caplog, method):
    with database.write() as session:
        job = a_job_row(session, state=JobState.SUCCEEDED).id
        session.get_one(Job, job).demand = "no such slot kind"
    url = f"http://127.0.0.1:{settings.api_port}/api/v1/jobs/{job}"

    answer = httpx2.request(method, url, headers={"Authorization": f"Bearer {token}"}, trust_env=False)

    assert answer.status_code == 500
    assert [record.name for record in caplog.records if record.exc_info] == ["api.http.problems"]


def test_a_failure_of_the_server_tells_its_name_and_nothing_else(http, database, caplog):
    with database.write() as session:
        job = a_job_row(session, state=JobState.SUCCEEDED).id
        session.get_one(Job, job).demand = "secret_slot_kind"

    with caplog.at_level(logging.ERROR, logger="api.http.problems"):
        answer = http.get(f"/jobs/{job}")

    problem = answer.json()
    assert (answer.status_code, problem["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert problem["incident"] in caplog.text
    assert "secret_slot_kind" in caplog.text


def test_a_database_without_tables_is_not_ready(http, database):
    Base.metadata.drop_all(database.engine)

    answer = http.get("http://testserver/health/ready")

    assert answer.status_code == 503
    assert "migrations" in answer.json()["detail"]
