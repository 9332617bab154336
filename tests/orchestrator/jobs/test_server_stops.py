"""Servers that are stopped, and servers that are kept, on both databases."""

from datetime import timedelta

import pytest
from builders.desk import Desk
from builders.lifecycle import (
    CANCELLED,
    FAULT,
    SUCCESS,
    TOOL,
    a_job,
    a_ready_server,
    a_running_attempt,
    a_serve_request,
    a_server,
    a_waiting_job,
    ending,
    events_of,
    finish,
    needs,
    now,
    owner_of,
)
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orchestrator.dispatcher import sweeps
from orchestrator.errors import IllegalTransition
from orchestrator.jobs import endpoints, lifecycle, orders
from orchestrator.model.failures import FailureKind, Suspicion
from orchestrator.model.orders import Action, BulkOrder, Chosen, Order
from orchestrator.model.serving import LONG_ENOUGH
from orchestrator.model.states import JobState, Until
from orchestrator.scheduling.explanation import explanation
from orchestrator.settings import Settings
from orchestrator.storage.tables import Attempt, Endpoint, Event, Job, Pipeline

KEPT = {"keep": True}


def _stop(desk: Desk, job_id: int, **facts) -> JobState:
    with desk.database.write() as session:
        return orders.carry_out(session, job_id, Order(Action.STOP, "alice", **facts), now=now())


def _events(desk: Desk, job_id: int) -> list[str]:
    with desk.database.read() as session:
        return events_of(session, job_id)


# ── stopped by people ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_that_is_stopped_has_succeeded_and_says_why(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session)

    asked = _stop(desk, server.job_id, note="the demo is over")
    with desk.database.write() as session:
        told = lifecycle.renew(
            session,
            server.attempt_id,
            owner=owner_of(session, server.attempt_id),
            now=now(),
            lease=timedelta(seconds=60),
        )
        finish(session, session.get_one(Attempt, server.attempt_id))

    assert asked is JobState.RUNNING
    assert told.stop_requested
    assert not told.cancel_requested
    assert desk.states(server.job_id) == [JobState.SUCCEEDED]
    with desk.database.read() as session:
        past = explanation(session, server.job_id, now=now(), lost_after=Settings().lease, aging=Settings().aging).past
    assert [each.why for each in past if each.about == "ended"] == ["stopped by alice: the demo is over"]


def test_stopping_twice_is_stopping_once(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session)

    _stop(desk, server.job_id)
    _stop(desk, server.job_id)

    assert _events(desk, server.job_id).count("job.stop_requested") == 1


def test_an_endpoint_that_is_being_stopped_is_offered_to_nobody(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session)

    _stop(desk, server.job_id)

    with desk.database.read() as session:
        assert not endpoints.open_endpoints(session)


def test_a_server_that_has_not_begun_is_cancelled_by_a_stop(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session, request=a_serve_request())

    _stop(desk, job.id)

    ended = desk.job(job.id)
    assert ended.state is JobState.CANCELLED
    assert ended.failure["reason"] == "cancelled by alice: stopped before it was ready"


def test_only_servers_are_stopped(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session, JobState.RUNNING)

    with pytest.raises(IllegalTransition, match="not a server: use cancel"):
        _stop(desk, job.id)

    assert desk.job(job.id).stop is None


def test_a_server_that_has_ended_otherwise_can_not_be_stopped(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session)
        finish(session, session.get_one(Attempt, server.attempt_id), CANCELLED)

    with pytest.raises(IllegalTransition, match="already cancelled"):
        _stop(desk, server.job_id)


def test_all_servers_of_a_project_are_stopped_by_one_order(desk: Desk):
    with desk.database.write() as session:
        servers = [a_ready_server(session).job_id for _ in range(2)]
        other = a_job(session, JobState.RUNNING).id

    with desk.database.write() as session:
        order = BulkOrder(action=Action.STOP, filter=Chosen(project="default"))
        report = orders.carry_out_bulk(session, order, "alice", now=now())

    assert sorted(outcome.job_id for outcome in report.outcomes) == servers
    assert desk.job(other).stop is None


@pytest.mark.parametrize("how", ["lost", "fault", "given back"])
def test_a_server_that_dies_while_it_is_being_stopped_is_not_started_again(desk: Desk, how: str):
    with desk.database.write() as session:
        server = a_ready_server(session, KEPT)
    _stop(desk, server.job_id)

    with desk.database.write() as session:
        match how:
            case "lost":
                lifecycle.lose(session, server.attempt_id, now=now(), why="gone", max_attempts=3)
            case "fault":
                finish(session, session.get_one(Attempt, server.attempt_id), FAULT)
            case "given back":
                lifecycle.give_back(
                    session,
                    server.attempt_id,
                    owner=owner_of(session, server.attempt_id),
                    now=now(),
                    why="its worker was stopped",
                )

    ended = desk.job(server.job_id)
    assert ended.state is JobState.CANCELLED
    assert ended.failure["reason"] == "cancelled by alice: it ended while it was being stopped"


# ── stopped by themselves ────────────────────────────────────────────────────────────────────────────────────────────


def _ago(seconds: float):
    return now() - timedelta(seconds=seconds)


def test_an_idle_server_is_stopped_and_one_that_is_used_is_not(desk: Desk):
    with desk.database.write() as session:
        idle = a_ready_server(session, {"idle_seconds": 60}, at=_ago(61))
        used = a_ready_server(session, {"idle_seconds": 60}, at=_ago(61))
        endpoints.note_use(session, used.attempt_id, _ago(5))

    sweeps.stop_servers(desk.database)

    assert desk.job(idle.job_id).stop["why"] == "not used for 60 s (idle_seconds)"
    assert desk.job(used.job_id).stop is None


def test_a_server_is_stopped_for_one_reason_once(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session, {"idle_seconds": 60}, at=_ago(61))

    sweeps.stop_servers(desk.database)
    sweeps.stop_servers(desk.database)

    assert _events(desk, server.job_id).count("job.stop_requested") == 1


def test_the_life_of_a_server_is_counted_from_when_it_was_ready_first(desk: Desk):
    with desk.database.write() as session:
        first = a_ready_server(session, {**KEPT, "life_seconds": 3600}, at=_ago(3601))
        finish(session, session.get_one(Attempt, first.attempt_id), TOOL)
        again = a_running_attempt(session, session.get_one(Job, first.job_id))
        endpoints.announce(
            session, again.id, owner=owner_of(session, again.id), url="http://a:1", served_id="m", now=now()
        )

    sweeps.stop_servers(desk.database)

    assert desk.job(first.job_id).stop["why"] == "it has run for its life_seconds (3600 s)"


def _client(session: Session, server: int, state: JobState, **facts) -> int:
    client = a_job(session, state, **facts) if state is not JobState.WAITING else a_waiting_job(session, **facts)
    needs(session, client, session.get_one(Job, server), until=Until.READY)
    return client.id


def test_a_server_is_stopped_when_the_last_of_its_clients_has_ended(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session, {"until": "clients_ended"})
        _client(session, server.job_id, JobState.SUCCEEDED)
        last = _client(session, server.job_id, JobState.RUNNING)

    sweeps.stop_servers(desk.database)
    before = desk.job(server.job_id).stop
    with desk.database.write() as session:
        finish(session, session.scalars(select(Attempt).where(Attempt.job_id == last)).one(), TOOL)
    sweeps.stop_servers(desk.database)

    assert before is None
    assert desk.job(server.job_id).stop["why"] == "all jobs that use its endpoint have ended (2)"


def _in_a_pipeline(session: Session) -> dict[str, int]:
    pipeline = Pipeline(name="serve-and-ask", project="default", created_at=now())
    session.add(pipeline)
    session.flush()
    return {"pipeline_id": pipeline.id}


@pytest.mark.parametrize(("until", "ends"), [(None, True), ("stopped", False)])
def test_a_server_of_a_pipeline_ends_with_the_jobs_of_it_that_use_it_unless_it_says_otherwise(desk: Desk, until, ends):
    with desk.database.write() as session:
        pipeline = _in_a_pipeline(session)
        server = a_ready_server(session, {"until": until}, **pipeline)
        _client(session, server.job_id, JobState.SUCCEEDED, name="ask", **pipeline)

    sweeps.stop_servers(desk.database)

    assert (desk.job(server.job_id).stop is not None) == ends


def test_a_server_outside_of_a_pipeline_outlives_its_clients(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session)
        _client(session, server.job_id, JobState.SUCCEEDED)

    sweeps.stop_servers(desk.database)

    assert desk.job(server.job_id).stop is None


def test_a_server_whose_clients_were_all_cancelled_before_it_began_is_not_started(desk: Desk):
    with desk.database.write() as session:
        server = a_job(session, request=a_serve_request({"until": "clients_ended"}))
        _client(session, server.id, JobState.CANCELLED)

    sweeps.stop_servers(desk.database)

    assert desk.states(server.id) == [JobState.CANCELLED]


# ── kept ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _lived(session: Session, attempt_id: int, seconds: float) -> None:
    """As if the server had been ready so long ago."""
    session.execute(update(Endpoint).where(Endpoint.attempt_id == attempt_id).values(ready_at=_ago(seconds)))


def _again(session: Session, job_id: int) -> int:
    attempt = a_running_attempt(session, session.get_one(Job, job_id, populate_existing=True))
    endpoints.announce(
        session, attempt.id, owner=owner_of(session, attempt.id), url="http://a:1", served_id="m", now=now()
    )
    return attempt.id


@pytest.mark.parametrize("failure", [TOOL, FAULT], ids=["tool", "fault"])
def test_a_kept_server_is_started_again_however_often_it_has_lived_long(desk: Desk, failure):
    with desk.database.write() as session:
        server = a_ready_server(session, KEPT)
    attempt_id, states = server.attempt_id, []

    for _ in range(5):
        with desk.database.write() as session:
            _lived(session, attempt_id, LONG_ENOUGH.total_seconds() + 1)
            states.append(finish(session, session.get_one(Attempt, attempt_id), failure))
        with desk.database.write() as session:
            attempt_id = _again(session, server.job_id)

    assert states == [JobState.QUEUED] * 5


def test_a_kept_server_that_dies_at_once_again_and_again_is_given_up(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session, KEPT)
    attempt_id, states = server.attempt_id, []

    for number in range(3):
        with desk.database.write() as session:
            states.append(finish(session, session.get_one(Attempt, attempt_id), TOOL, max_attempts=3))
        if number < 2:
            with desk.database.write() as session:
                attempt_id = _again(session, server.job_id)

    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
    reason = desk.job(server.job_id).failure["reason"]
    assert reason == "3 times in a row it was not ready for 60 s, so it is not restarted: exit code 1"


def test_a_kept_server_whose_worker_is_lost_is_started_again(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session, KEPT)

        lifecycle.lose(session, server.attempt_id, now=now(), why="gone", max_attempts=3)

    assert desk.states(server.job_id) == [JobState.QUEUED]


@pytest.mark.parametrize("kind", [FailureKind.BAD_SPEC, FailureKind.RUN_LIMIT, FailureKind.WRONG_CARDS])
def test_what_would_happen_again_is_not_tried_again_for_a_kept_server(desk: Desk, kind: FailureKind):
    with desk.database.write() as session:
        server = a_ready_server(session, KEPT)

        finish(session, session.get_one(Attempt, server.attempt_id), TOOL.model_copy(update={"kind": kind}))

    assert desk.states(server.job_id) == [JobState.FAILED]


def test_a_server_that_is_not_kept_fails_with_its_tool(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session)

        finish(session, session.get_one(Attempt, server.attempt_id), TOOL)

    assert desk.states(server.job_id) == [JobState.FAILED]


def test_a_kept_server_that_kills_two_cards_in_a_row_is_not_given_a_third(desk: Desk):
    with desk.database.write() as session:
        server = a_ready_server(session, KEPT)
    broken = ending(FAULT)
    killed = type(SUCCESS)(**{**vars(broken), "suspicion": Suspicion(reason="the card is gone")})

    attempt_id = server.attempt_id
    for _ in range(2):
        with desk.database.write() as session:
            lifecycle.finish(
                session, attempt_id, killed, owner=owner_of(session, attempt_id), now=now(), max_attempts=3
            )
            job = session.get_one(Job, server.job_id, populate_existing=True)
            attempt_id = _again(session, job.id) if job.state is JobState.QUEUED else attempt_id

    assert desk.job(server.job_id).failure["kind"] == FailureKind.DEVICE_KILLS


def test_why_a_kept_server_was_started_again_is_told(desk: Desk):
    with desk.database.write() as session:
        attempt = a_server(session, KEPT)
        finish(session, attempt, TOOL)

    with desk.database.read() as session:
        queued = select(Event.data).where(Event.job_id == attempt.job_id, Event.kind == "job.queued")
        told = session.scalars(queued.order_by(Event.id.desc())).first()
    assert told["why"] == "restart policy keep: exit code 1"
