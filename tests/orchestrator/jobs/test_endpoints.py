"""Endpoints of servers, and jobs that need one, on both databases."""

from collections.abc import Callable

import pytest
from builders.desk import Desk
from builders.lifecycle import (
    CANCELLED,
    FAULT,
    TOOL,
    a_ready_server,
    a_serve_request,
    a_server,
    a_waiting_job,
    events_of,
    finish,
    needs,
    now,
    owner_of,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import EndpointClosed, OwnershipLost
from orchestrator.jobs import endpoints, lifecycle
from orchestrator.model.states import JobState, Until
from orchestrator.scheduling.explanation import explanation
from orchestrator.settings import Settings
from orchestrator.storage.tables import Attempt, Endpoint, Job

# ── open and closed ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_that_is_ready_has_an_open_endpoint(desk: Desk):
    with desk.database.write() as session:
        opened = a_ready_server(session, {"groups": 2})

    with desk.database.read() as session:
        (found,) = endpoints.open_endpoints(session)
        assert endpoints.of_job(session, opened.job_id).attempt_id == found.attempt_id
        assert (found.model, found.groups, found.last_used_at, found.closed_at) == ("qwen", 2, None, None)
        assert "attempt.ready" in events_of(session, opened.job_id)


def test_endpoints_are_told_apart_by_their_model(desk: Desk):
    with desk.database.write() as session:
        a_ready_server(session)
        llama = a_ready_server(session, {"model": "llama"})

    with desk.database.read() as session:
        found = endpoints.open_endpoints(session, "llama")

    assert [each.job_id for each in found] == [llama.job_id]


def test_a_server_that_was_taken_from_its_worker_opens_nothing(desk: Desk):
    with desk.database.write() as session:
        attempt = a_server(session)
        lifecycle.lose(session, attempt.id, now=now(), why="gone", max_attempts=3)

    with pytest.raises(OwnershipLost), desk.database.write() as session:
        endpoints.announce(
            session, attempt.id, owner=owner_of(session, attempt.id), url="http://a:1", served_id="m", now=now()
        )

    with desk.database.read() as session:
        assert session.get(Endpoint, attempt.id) is None


_ENDS: dict[str, Callable[[Session, Attempt], object]] = {
    "succeeded": finish,
    "failed": lambda session, attempt: finish(session, attempt, TOOL),
    "fault": lambda session, attempt: finish(session, attempt, FAULT),
    "cancelled": lambda session, attempt: finish(session, attempt, CANCELLED),
    "lost": lambda session, attempt: lifecycle.lose(session, attempt.id, now=now(), why="gone", max_attempts=3),
    "given back": lambda session, attempt: lifecycle.give_back(
        session, attempt.id, owner=owner_of(session, attempt.id), now=now(), why="stopped"
    ),
}


@pytest.mark.parametrize("how", _ENDS)
def test_an_endpoint_is_closed_however_its_attempt_ends(desk: Desk, how: str):
    with desk.database.write() as session:
        attempt = session.get_one(Attempt, a_ready_server(session).attempt_id)

    with desk.database.write() as session:
        _ENDS[how](session, session.get_one(Attempt, attempt.id))

    with desk.database.read() as session:
        assert session.get_one(Endpoint, attempt.id).closed_at is not None
        assert not endpoints.open_endpoints(session)
        with pytest.raises(EndpointClosed, match="has no open endpoint"):
            endpoints.of_job(session, attempt.job_id)


def test_an_end_that_is_rolled_back_leaves_the_endpoint_open(desk: Desk):
    with desk.database.write() as session:
        attempt = session.get_one(Attempt, a_ready_server(session).attempt_id)

    with pytest.raises(OwnershipLost), desk.database.write() as session:
        finish(session, session.get_one(Attempt, attempt.id), worker="another")

    with desk.database.read() as session:
        assert len(endpoints.open_endpoints(session)) == 1


def test_a_use_is_noted_while_the_endpoint_is_open_and_refused_afterwards(desk: Desk):
    used_at = now()
    with desk.database.write() as session:
        opened = a_ready_server(session)

    with desk.database.write() as session:
        endpoints.note_use(session, opened.attempt_id, used_at)
    with desk.database.write() as session:
        finish(session, session.get_one(Attempt, opened.attempt_id))
    with pytest.raises(EndpointClosed), desk.database.write() as session:
        endpoints.note_use(session, opened.attempt_id, now())

    with desk.database.read() as session:
        assert session.get_one(Endpoint, opened.attempt_id).last_used_at == used_at


def test_servers_that_are_on_their_way_are_known_by_their_model(desk: Desk):
    with desk.database.write() as session:
        waiting, starting = a_waiting_job(session, a_serve_request()).id, a_server(session).job_id
        a_server(session, {"model": "llama"})
        leaving = a_server(session).job_id
        lifecycle.cancel(session, leaving, by=None, now=now())
        finish(session, a_server(session))

    with desk.database.read() as session:
        assert endpoints.coming(session, "qwen") == [waiting, starting]


# ── jobs that need one ───────────────────────────────────────────────────────────────────────────────────────────────


def _client_of(session: Session, server: int) -> Job:
    client = a_waiting_job(session)
    needs(session, client, session.get_one(Job, server), until=Until.READY)
    return client


def test_a_job_that_needs_an_endpoint_waits_until_it_is_open_and_no_longer(desk: Desk):
    with desk.database.write() as session:
        attempt = a_server(session)
        client = _client_of(session, attempt.job_id)

    desk.promote()
    before = desk.states(client.id)
    with desk.database.write() as session:
        endpoints.announce(
            session, attempt.id, owner=owner_of(session, attempt.id), url="http://a:1", served_id="m", now=now()
        )
    desk.promote()

    assert before == [JobState.WAITING]
    assert desk.states(client.id, attempt.job_id) == [JobState.QUEUED, JobState.RUNNING]


def test_a_server_that_has_died_and_is_replaced_keeps_its_clients_waiting(desk: Desk):
    with desk.database.write() as session:
        attempt = session.get_one(Attempt, a_ready_server(session).attempt_id)
        client = _client_of(session, attempt.job_id)
        finish(session, attempt, FAULT)

    desk.promote()

    assert desk.states(attempt.job_id, client.id) == [JobState.QUEUED, JobState.WAITING]


@pytest.mark.parametrize(
    ("failure", "told"), [(None, "has succeeded"), (TOOL, "which failed"), (CANCELLED, "was cancelled")]
)
def test_a_job_is_skipped_when_the_server_it_needs_has_ended(desk: Desk, failure, told: str):
    with desk.database.write() as session:
        attempt = session.get_one(Attempt, a_ready_server(session).attempt_id)
        client = _client_of(session, attempt.job_id)
        finish(session, attempt, failure)

    desk.promote()

    skipped = desk.job(client.id)
    assert skipped.state is JobState.SKIPPED
    assert f"it needs the endpoint of job {attempt.job_id} (serve)" in skipped.failure["reason"]
    assert told in skipped.failure["reason"]


def test_no_client_is_sent_to_a_server_that_is_being_cancelled(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session)
        client = _client_of(session, server.job_id)
        lifecycle.cancel(session, server.job_id, by=None, now=now())

    desk.promote()

    assert desk.states(client.id) == [JobState.WAITING]
    with desk.database.read() as session:
        assert not endpoints.open_endpoints(session)


def test_a_job_that_needs_the_end_of_a_server_is_not_started_by_its_readiness(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session)
        after = a_waiting_job(session)
        needs(session, after, session.get_one(Job, server.job_id))

    desk.promote()

    assert desk.states(after.id) == [JobState.WAITING]


def test_explain_says_that_a_server_has_to_be_ready(desk: Desk):
    with desk.database.write() as session:
        attempt = a_server(session)
        client = _client_of(session, attempt.job_id)

    with desk.database.read() as session:
        lost_after = Settings().lease
        told = explanation(session, client.id, now=now(), lost_after=lost_after, aging=Settings().aging)

    reasons = [reason.detail for reason in told.reasons if reason.job_id == attempt.job_id]
    assert reasons == [f"job {attempt.job_id} (serve) has to be ready first; it is running"]


# ── submitted ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_is_submitted_as_any_job_and_may_run_as_long_as_it_says(desk: Desk):
    number = desk.submit(
        {"kind": "serve", "model": "qwen", "kcore": desk.stored("kcore"), "groups": 2, "life_seconds": 1000},
    )

    job = desk.job(number)

    assert job.state is JobState.QUEUED
    assert job.run_seconds == 600 + 1000 + 300
    assert "x2" in job.demand


def test_an_endpoint_is_no_artifact_that_another_input_could_take(desk: Desk):
    server = desk.submit({"kind": "serve", "model": "qwen", "kcore": desk.stored("kcore")})

    with pytest.raises(Exception, match="makes endpoint"):
        desk.submit(desk.infer(kcore={"job": server, "artifact": "kcore"}))
    with desk.database.read() as session:
        assert session.scalars(select(Job.id)).all() == [server]
