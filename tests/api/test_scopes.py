"""What each token may do, asked of every route there is."""

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import select
from starlette.testclient import TestClient

from orchestrator import tokens
from orchestrator.model.scopes import Scope
from orchestrator.storage.tables import Event

JOB = {"spec": {"kind": "quantize", "model": "tiny"}}
WEAKER = {Scope.SUBMITTER: Scope.VIEWER, Scope.OPERATOR: Scope.SUBMITTER, Scope.ADMIN: Scope.OPERATOR}


@pytest.fixture
def as_(app: FastAPI, database):
    """Requests with a new token of a scope; `None` is a token without any."""

    def client(scope: Scope | None) -> TestClient:
        plain = tokens.make(database, f"a-{scope}", () if scope is None else (scope,))
        headers = {"Authorization": f"Bearer {plain}"}
        return TestClient(app, base_url="http://testserver/api/v1", headers=headers, raise_server_exceptions=False)

    return client


def documented(app: FastAPI) -> list[tuple[str, str, Scope]]:
    paths = app.openapi()["paths"]
    return [
        (method.upper(), path.removeprefix("/api/v1"), Scope(operation["x-scope"]))
        for path, operations in paths.items()
        if path.startswith("/api/v1")
        for method, operation in operations.items()
    ]


def test_every_route_says_which_scope_it_needs(app):
    guarded = [route for route in app.routes if isinstance(route, APIRoute) and route.path.startswith("/api/v1")]

    told = documented(app)

    assert len(told) >= len(guarded)
    assert {scope for _, _, scope in told} == set(Scope) - {Scope.INFERENCE}  # which is for /v1 alone
    assert {scope for method, path, scope in told if method == "GET" and path != "/tokens"} == {Scope.VIEWER}


def test_every_route_refuses_a_token_of_less(app, as_):
    clients = {scope: as_(scope) for scope in (None, *Scope)}

    for method, path, scope in documented(app):
        answer = clients[WEAKER.get(scope)].request(method, path.replace("{", "").replace("}", ""))

        assert (method, path, answer.status_code) == (method, path, 403)
        assert answer.json()["code"] == "forbidden"


def test_a_refusal_says_what_is_needed_and_who_can_give_it(as_):
    answer = as_(Scope.VIEWER).post("/jobs", json=JOB)

    assert answer.status_code == 403
    assert "needs the scope submitter, but token a-viewer has viewer" in answer.json()["detail"]
    assert "tx81 tokens create" in answer.json()["detail"]


def test_nothing_is_made_for_a_token_of_less(as_, http):
    as_(Scope.VIEWER).post("/jobs", json=JOB)

    assert http.get("/jobs").json()["items"] == []


def test_a_made_token_works_with_its_scope_and_is_never_shown_again(as_, app, http):
    made = http.post("/tokens", json={"name": "ci", "scope": "submitter"})

    plain = made.json()["token"]
    assert made.status_code == 201
    with TestClient(app, base_url="http://testserver/api/v1", headers={"Authorization": f"Bearer {plain}"}) as ci:
        assert ci.get("/jobs").status_code == 200
        assert ci.get("/tokens").status_code == 403
    listed = http.get("/tokens")
    assert [token["name"] for token in listed.json()["items"]] == ["ci", "test"]
    assert plain not in listed.text


def test_a_revoked_token_is_refused_and_its_name_stays_taken(app, http):
    plain = http.post("/tokens", json={"name": "ci", "scope": "admin"}).json()["token"]

    gone = http.delete("/tokens/ci")

    assert gone.status_code == 204
    with TestClient(app, base_url="http://testserver/api/v1", headers={"Authorization": f"Bearer {plain}"}) as ci:
        assert ci.get("/jobs").status_code == 401
    assert http.post("/tokens", json={"name": "ci", "scope": "viewer"}).status_code == 409
    assert http.delete("/tokens/ci").status_code == 204


def test_the_last_admin_token_is_kept(http):
    http.post("/tokens", json={"name": "ops", "scope": "operator"})

    refused = http.delete("/tokens/test")

    assert refused.status_code == 409
    assert "last admin token" in refused.json()["detail"]
    assert http.get("/tokens").status_code == 200


def test_who_made_and_revoked_a_token_is_in_the_events(http, database):
    http.post("/tokens", json={"name": "ci", "scope": "viewer"})
    http.delete("/tokens/ci")

    with database.read() as session:
        told = {event.kind: event.data for event in session.scalars(select(Event).where(Event.kind.like("token.%")))}
    assert told["token.revoked"] == {"name": "ci", "by": "test"}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "ci"}, "scope"),
        ({"name": "ci", "scope": "root"}, "scope"),
        ({"name": "--scope", "scope": "viewer"}, "name"),
        ({"name": "../ci", "scope": "viewer"}, "name"),
        ({"name": "ci", "scope": "viewer", "token": "mine"}, "token"),
    ],
)
def test_a_token_that_makes_no_sense_is_refused_with_its_field(http, body, field):
    answer = http.post("/tokens", json=body)

    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_an_unknown_token_cannot_be_revoked(http):
    assert http.delete("/tokens/nobody").status_code == 404
