"""The list of servers follows what is committed, and what they are asked is noted, on both databases."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from builders.lifecycle import ending, now, owner_of
from eventually import eventually
from starlette.testclient import TestClient

from api.proxy import fleet
from orchestrator.jobs import lifecycle
from orchestrator.storage.tables import Endpoint
from tests.api.proxy.servers import announce, strange

CHAT = "/chat/completions"
BODY = {"model": "tiny", "messages": []}


@pytest.fixture
def openai(app, token):
    with TestClient(app, base_url="http://testserver/v1", raise_server_exceptions=False) as client:
        client.headers["Authorization"] = f"Bearer {token}"
        yield client


@pytest.fixture
def server():
    with strange(lambda ask: ask.whole(b'{"model": "/srv/tiny"}')) as running:
        yield running


def test_a_server_is_found_as_soon_as_it_is_announced(openai, server, database):
    before = openai.post(CHAT, json=BODY).status_code

    announce(database, server.url)

    assert before == 404
    assert openai.post(CHAT, json=BODY).status_code == 200


def test_a_server_that_has_ended_is_not_asked_any_more(openai, server, database):
    attempt = announce(database, server.url)
    asked = openai.post(CHAT, json=BODY).status_code

    with database.write() as session:
        lifecycle.finish(session, attempt, ending(), owner=owner_of(session, attempt), now=now(), max_attempts=3)

    assert asked == 200
    assert eventually(lambda: openai.post(CHAT, json=BODY).status_code == 404)
    assert openai.get("/models").json()["data"] == []


def test_a_server_that_is_asked_is_not_idle(openai, server, database):
    attempt = announce(database, server.url)
    other = announce(database, server.url, model="other")

    openai.post(CHAT, json=BODY)

    assert eventually(lambda: _last_used(database, attempt))
    assert _last_used(database, other) is None


def test_the_first_request_after_a_rest_is_noted_at_once_so_that_its_server_does_not_end_under_it_as_idle(
    app, token, database, server, monkeypatch
):
    monkeypatch.setattr(fleet, "USE_SECONDS", 3600.0)
    attempt = announce(database, server.url)

    with TestClient(app, base_url="http://testserver/v1", headers={"Authorization": f"Bearer {token}"}) as openai:
        openai.post(CHAT, json=BODY)

        assert eventually(lambda: _last_used(database, attempt))


def test_requests_under_way_are_counted_on_the_endpoint_they_went_to(openai, database):
    asked, go = threading.Event(), threading.Event()

    def say(ask):
        asked.set()
        go.wait(30)
        ask.whole(b"{}")

    with strange(say) as slow, ThreadPoolExecutor(1) as pool:
        busy, idle = announce(database, slow.url), announce(database, slow.url, model="other")
        answer = pool.submit(openai.post, CHAT, json=BODY)
        asked.wait(30)
        during = in_flight(openai)
        go.set()
        answer.result(30)

        assert during == {busy: 1, idle: 0}
        assert eventually(lambda: in_flight(openai) == {busy: 0, idle: 0})


def in_flight(openai) -> dict[int, int]:
    listed = openai.get("http://testserver/api/v1/endpoints").json()["items"]
    return {each["attempt_id"]: each["in_flight"] for each in listed}


def _last_used(database, attempt):
    with database.read() as session:
        return session.get_one(Endpoint, attempt).last_used_at
