"""Who may ask, what is refused, and in whose words."""

from types import SimpleNamespace

import pytest
from builders.lifecycle import a_serve_request, a_server, a_waiting_job
from builders.rows import a_job_row
from starlette.testclient import TestClient

from orchestrator import tokens
from tests.api.proxy.servers import announce, strange

CHAT = "/chat/completions"
MESSAGES = [{"role": "user", "content": "Who are you?"}]


@pytest.fixture
def openai(app, token):
    with TestClient(app, base_url="http://testserver/v1", raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


@pytest.fixture
def server(database):
    """A server that answers everybody, with what it heard."""
    with strange(lambda ask: ask.whole(b'{"model": "/srv/tiny", "choices": []}')) as running:
        announce(database, running.url)
        yield running


def error_of(answer) -> SimpleNamespace:
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json().keys() == {"error"}
    return SimpleNamespace(status=answer.status_code, **answer.json()["error"])


@pytest.mark.parametrize("scope", ["inference", "submitter", "operator", "admin"])
def test_a_token_for_inference_or_of_more_may_ask(app, server, database, scope):
    plain = tokens.make(database, f"a-{scope}", (scope,))

    with TestClient(app, base_url="http://testserver/v1", headers={"Authorization": f"Bearer {plain}"}) as client:
        answers = [client.get("/models"), client.post(CHAT, json={"model": "tiny", "messages": MESSAGES})]

    assert [answer.status_code for answer in answers] == [200, 200]


@pytest.mark.parametrize("scopes", [(), ("viewer",)])
def test_a_token_of_less_is_refused_before_anything_is_read(app, server, database, scopes):
    plain = tokens.make(database, "less", scopes)

    with TestClient(app, base_url="http://testserver/v1", headers={"Authorization": f"Bearer {plain}"}) as client:
        refused = [error_of(client.get("/models")), error_of(client.post(CHAT, content=b"{"))]

    assert [(each.status, each.type, each.code) for each in refused] == [(403, "permission_error", "forbidden")] * 2
    assert "needs the scope inference" in refused[0].message
    assert server.heard == []


def test_a_token_for_inference_may_nothing_else(app, database):
    plain = tokens.make(database, "program", ("inference",))

    with TestClient(app, base_url="http://testserver/api/v1", headers={"Authorization": f"Bearer {plain}"}) as client:
        assert [client.get("/jobs").status_code, client.post("/jobs", json={}).status_code] == [403, 403]


def test_a_stranger_is_refused_in_the_words_of_openai(openai):
    openai.headers["Authorization"] = "Bearer tx81_wrong"

    refused = error_of(openai.post(CHAT, json={"model": "tiny", "messages": MESSAGES}))

    assert (refused.status, refused.type, refused.code) == (401, "authentication_error", "unauthenticated")


@pytest.mark.parametrize(
    ("body", "param", "told"),
    [
        (b"", None, "JSON object"),
        (b"{", None, "not JSON"),
        (b"[]", None, "JSON object"),
        (b'{"messages": NaN}', None, "NaN"),
        (b'{"messages": "\xff"}', None, "UTF-8"),
        (b"[" * 200_000, None, "nested"),
        (b"{}", "model", "is missing"),
        (b'{"model": ""}', "model", "at least 1"),
        (b'{"model": 7}', "model", "text"),
    ],
)
def test_a_body_that_is_no_request_is_refused(openai, server, body, param, told):
    refused = error_of(openai.post(CHAT, content=body, headers={"Content-Type": "application/json"}))

    assert (refused.status, refused.type, refused.param) == (400, "invalid_request_error", param)
    assert told in refused.message
    assert server.heard == []


def test_a_body_that_does_not_say_that_it_is_json_is_refused(openai, server):
    body = b'{"model": "tiny", "messages": []}'

    refused = error_of(openai.post(CHAT, content=body, headers={"Content-Type": "text/plain"}))

    assert refused.status == 400
    assert server.heard == []


def test_a_body_that_is_too_large_is_refused(openai, server, settings):
    body = b'{"model": "tiny", "prompt": "' + b"x" * settings.max_body_bytes + b'"}'

    refused = error_of(openai.post("/completions", content=body, headers={"Content-Type": "application/json"}))

    assert (refused.status, refused.code) == (413, "body_too_large")
    assert server.heard == []


@pytest.mark.parametrize(
    "name", ["unknown", "通义千问", 'a"b\\c\n', "../../etc/passwd", "http://127.0.0.1:1/", "-v", "x" * 100_000]
)
def test_a_model_that_nobody_serves_is_named_with_those_that_are(openai, server, name):
    refused = error_of(openai.post(CHAT, json={"model": name, "messages": MESSAGES}))

    assert (refused.status, refused.code, refused.param) == (404, "model_not_found", "model")
    assert refused.message.endswith("served now: tiny")
    assert len(refused.message) < 300
    assert server.heard == []


def test_a_model_whose_server_is_on_its_way_is_worth_another_try(openai, database):
    with database.write() as session:
        job = a_waiting_job(session, a_serve_request({"model": "tiny"})).id

    answer = openai.post(CHAT, json={"model": "tiny", "messages": MESSAGES})

    refused = error_of(answer)
    assert (refused.status, refused.type, refused.code) == (503, "server_error", "no_server_ready")
    assert f"job {job} is starting one" in refused.message
    assert int(answer.headers["Retry-After"]) > 0


def test_a_server_that_nobody_announced_is_not_asked(openai, database):
    with database.write() as session:
        a_server(session, {"model": "tiny"})
        a_job_row(session, spec={"kind": "serve", "model": "tiny"})

    answer = openai.post(CHAT, json={"model": "tiny", "messages": MESSAGES})

    assert answer.status_code == 503


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/chat/completions", "POST"),
        ("DELETE", "/models/tiny", "GET, HEAD"),
        ("POST", "/models", "GET, HEAD"),
        ("OPTIONS", "/completions", "POST"),
    ],
)
def test_another_method_is_refused_with_those_that_there_are(openai, method, path, allowed):
    answer = openai.request(method, path)

    refused = error_of(answer)
    assert (refused.status, refused.type, refused.code) == (405, "invalid_request_error", "method_not_allowed")
    assert answer.headers["Allow"] == allowed
    assert f"/v1{path} has no {method}" in refused.message


@pytest.mark.parametrize(("method", "path"), [("POST", "/embeddings"), ("DELETE", "/files/1")])
def test_what_is_not_here_is_refused_in_the_words_of_openai(openai, method, path):
    refused = error_of(openai.request(method, path))

    assert (refused.status, refused.type, refused.code) == (404, "invalid_request_error", "not_found")
    assert f"no {method} /v1{path} here" in refused.message


def test_one_model_is_shown_or_refused_in_the_words_of_openai(openai, server):
    shown, unknown = openai.get("/models/tiny").json(), error_of(openai.get("/models/qwen/7b"))

    assert shown == openai.get("/models").json()["data"][0]
    assert (unknown.status, unknown.code) == (404, "model_not_found")
    assert "'qwen/7b' is not served; served now: tiny" in unknown.message


def test_a_stranger_is_not_even_told_which_paths_there_are(openai):
    del openai.headers["Authorization"]

    assert [openai.get(path).status_code for path in ("/models/tiny", "/embeddings")] == [401, 401]


def test_every_route_says_which_scope_it_needs(app):
    paths = app.openapi()["paths"]

    needed = {
        path: operation["x-scope"] for path, ways in paths.items() for operation in ways.values() if path[:4] == "/v1/"
    }

    assert needed == dict.fromkeys(
        ("/v1/models", "/v1/models/{name}", "/v1/chat/completions", "/v1/completions"), "inference"
    )
