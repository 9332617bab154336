"""Servers, as HTTP sees them."""

import pytest
from builders.lifecycle import a_job, a_ready_server, finish

from api.client.client import ApiError
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Attempt


@pytest.fixture
def server(database) -> int:
    """The job of a server that is ready."""
    with database.write() as session:
        return a_ready_server(session).job_id


def test_open_endpoints_are_listed_by_model(client, database, server):
    with database.write() as session:
        llama = a_ready_server(session, {"model": "llama", "groups": 2}).job_id

    every, chosen = client.endpoints.all(), client.endpoints.all("llama")

    assert [each.job_id for each in every] == [server, llama]
    assert [(each.job_id, each.groups, each.served_id) for each in chosen] == [(llama, 2, "/models/qwen")]


def test_a_job_shows_its_endpoint_while_that_is_open(client, database, server):
    before = client.job(server).endpoint

    with database.write() as session:
        finish(session, session.get_one(Attempt, before.attempt_id))

    assert before.url == "http://127.0.0.1:20000"
    assert client.job(server).endpoint is None
    assert client.endpoints.all() == ()


def test_a_stop_shows_on_the_job_with_who_asked_for_it_and_why(client, server):
    asked = client.stop(server, "夜间维护")

    assert asked.state is JobState.RUNNING
    assert (asked.stop["why"], asked.stop["by"]) == ("夜间维护", "test")
    assert client.endpoints.all() == ()


def test_only_a_server_can_be_stopped(client, database):
    with database.write() as session:
        job = a_job(session, JobState.RUNNING).id

    with pytest.raises(ApiError, match="not a server") as refused:
        client.stop(job)

    assert (refused.value.status, refused.value.code) == (409, "illegal_transition")


def test_a_stop_with_a_version_that_was_not_seen_is_refused(http, server):
    refused = http.post(f"/jobs/{server}/stop", headers={"If-Match": '"999"'})

    assert refused.status_code == 412
    assert http.get(f"/jobs/{server}").json()["stop"] is None


def test_an_unknown_model_has_no_endpoints(client, server):
    assert client.endpoints.all("nobody-has-this") == ()


@pytest.mark.parametrize("body", [{"note": ""}, {"why": "x"}])
def test_a_stop_that_says_what_nobody_understands_is_refused(http, server, body):
    assert http.post(f"/jobs/{server}/stop", json=body).status_code == 422
