"""Jobs that ask servers, from their submission until they are queued, on both databases."""

import pytest
from builders.desk import Desk
from builders.lifecycle import TOOL, a_running_attempt, finish, now, owner_of
from sqlalchemy import select, update

from orchestrator.errors import BadSpec
from orchestrator.jobs import endpoints, lifecycle
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.specs import JobRequest
from orchestrator.model.states import JobState, Until
from orchestrator.scheduling import queue
from orchestrator.scheduling.explanation import explanation
from orchestrator.settings import Settings
from orchestrator.storage.tables import Attempt, Job, JobNeed, Release

GONE = Failure(kind=FailureKind.SERVER_GONE, reason="the server does not answer")


def serve(desk: Desk, **facts):
    return {"kind": "serve", "model": "qwen", "kcore": desk.stored("kcore"), **facts}


def client(desk: Desk, *servers, **facts):
    used = [{"job": server, "artifact": "endpoint"} for server in servers]
    return {"kind": "client", "endpoint": used if len(used) > 1 else used[0], "prompts": desk.file(), **facts}


def open_endpoint(desk: Desk, server: int) -> None:
    with desk.database.write() as session:
        attempt = a_running_attempt(session, session.get_one(Job, server))
        endpoints.announce(
            session, attempt.id, owner=owner_of(session, attempt.id), url="http://127.0.0.1:1", served_id="m", now=now()
        )


def test_a_pipeline_of_a_server_and_its_client_starts_the_client_when_the_server_is_ready(desk: Desk):
    server, asking = desk.pipeline({"server": serve(desk), "asking": client(desk, "server")})
    before = desk.states(server, asking)

    open_endpoint(desk, server)
    desk.promote()

    assert before == [JobState.QUEUED, JobState.WAITING]
    assert desk.states(server, asking) == [JobState.RUNNING, JobState.QUEUED]


def test_a_client_of_several_servers_waits_for_all_of_them(desk: Desk):
    first = desk.submit(serve(desk))
    second, asking = desk.pipeline(
        {"server": serve(desk), "asking": client(desk, first, "server", program="chat_processes")}
    )

    open_endpoint(desk, first)
    desk.promote()
    with_one = desk.states(asking)
    open_endpoint(desk, second)
    desk.promote()

    assert with_one == [JobState.WAITING]
    assert desk.states(asking) == [JobState.QUEUED]
    with desk.database.read() as session:
        needs = session.execute(select(JobNeed.needs_id, JobNeed.until).where(JobNeed.job_id == asking)).all()
    assert sorted(needs) == [(first, Until.READY), (second, Until.READY)]


def test_the_request_that_is_kept_names_servers_by_number(desk: Desk):
    first = desk.submit(serve(desk))
    second, asking = desk.pipeline(
        {"server": serve(desk), "asking": client(desk, "server", first, program="chat_processes")}
    )

    kept = JobRequest.model_validate(desk.job(asking).request)

    assert [one.job for one in kept.spec.endpoints] == [second, first]


def test_a_client_needs_no_model_and_no_kind_of_the_release_for_our_own_program(desk: Desk):
    with desk.database.write() as session:
        release = session.scalars(select(Release)).one()
        kept = {name: kind for name, kind in release.profile["kinds"].items() if not name.startswith("client_")}
        release.profile = {**release.profile, "kinds": kept}
    server = desk.submit(serve(desk))

    asking = desk.submit(client(desk, server))

    assert desk.states(asking) == [JobState.WAITING]
    with pytest.raises(BadSpec, match="has no client_chat; name another"):
        desk.submit(client(desk, server, program="chat"))


def test_what_makes_no_endpoint_cannot_be_asked(desk: Desk):
    build = desk.submit({"kind": "quantize", "model": "qwen"})

    with pytest.raises(BadSpec, match="quantize job, which makes gm") as refusal:
        desk.submit(client(desk, build))
    assert refusal.value.field == "spec.endpoint"


def test_a_server_that_is_no_job_is_named(desk: Desk):
    with pytest.raises(BadSpec, match="there is no job 77") as refusal:
        desk.submit(client(desk, 77))
    with pytest.raises(BadSpec, match="'nobody' in this pipeline") as unknown:
        desk.pipeline({"asking": client(desk, "nobody")})

    assert (refusal.value.field, unknown.value.field) == ("spec.endpoint", "jobs.asking.spec.endpoint")


# ── beside a server that is kept ─────────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def kept(desk: Desk) -> tuple[int, int]:
    """A kept server that is ready, and a client of it that may start."""
    server, asking = desk.pipeline({"server": serve(desk, keep=True), "asking": client(desk, "server")})
    open_endpoint(desk, server)
    desk.promote()
    return server, asking


def end_live(desk: Desk, job: int, failure: Failure | None) -> None:
    with desk.database.write() as session:
        live = select(Attempt).where(Attempt.job_id == job).order_by(Attempt.id.desc()).limit(1)
        finish(session, session.scalars(live).one(), failure)


def test_a_client_of_a_kept_server_that_died_begins_again_with_the_next_one(desk: Desk, kept: tuple[int, int]):
    server, asking = kept

    end_live(desk, server, TOOL)
    desk.end(asking, GONE)
    desk.promote()
    between = desk.states(server, asking)
    open_endpoint(desk, server)
    desk.promote()

    assert between == [JobState.QUEUED, JobState.WAITING]
    assert desk.states(asking) == [JobState.QUEUED]
    with desk.database.read() as session:
        facts = {"now": now(), "lost_after": Settings().lease, "aging": Settings().aging}
        told = [past.why for past in explanation(session, asking, **facts).past if past.about == "retried"]
    assert told == ["its server will be started again, and it waits for it: the server does not answer"]


def test_that_a_server_was_gone_is_not_held_against_the_seat_of_its_client(desk: Desk, kept: tuple[int, int]):
    _, asking = kept
    desk.end(asking, GONE)
    desk.promote()

    with desk.database.read() as session:
        groups = queue.classes(session)
        queued = [job for group in groups for job in queue.heads(session, group, 4)]
        known = queue.known(session, queued)
        (candidate,) = queue.candidates(queued, known, now=now(), aging=Settings().aging)

    assert (candidate.job_id, candidate.avoid) == (asking, frozenset())


def test_a_server_that_was_found_gone_is_not_begun_with_again_while_nobody_knows_that_it_has_ended(
    desk: Desk, kept: tuple[int, int]
):
    server, asking = kept
    with desk.database.write() as session:
        dead = session.scalars(select(Attempt.id).where(Attempt.job_id == server)).one()
        session.execute(update(JobNeed).where(JobNeed.job_id == asking).values(gone_attempt_id=dead))

    desk.end(asking, GONE)
    desk.promote()
    before = desk.states(asking)
    end_live(desk, server, TOOL)
    open_endpoint(desk, server)
    desk.promote()

    assert before == [JobState.WAITING]
    assert desk.states(asking) == [JobState.QUEUED]


def test_a_client_whose_kept_servers_die_again_and_again_fails_in_the_end(desk: Desk, kept: tuple[int, int]):
    server, asking = kept

    for _ in range(2):
        desk.end(asking, GONE)
        desk.promote()
    desk.end(asking, GONE)

    assert desk.states(server, asking) == [JobState.RUNNING, JobState.FAILED]
    assert desk.job(asking).failure["kind"] == "server_gone"


def test_a_client_whose_kept_server_is_given_up_fails_with_it(desk: Desk, kept: tuple[int, int]):
    server, asking = kept

    desk.end(asking, GONE)
    end_live(desk, server, TOOL)
    for _ in range(2):
        desk.end(server, TOOL)
    desk.promote()

    assert desk.states(server, asking) == [JobState.FAILED, JobState.FAILED]
    failure = desk.job(asking).failure
    assert failure["kind"] == "server_gone"
    assert failure["reason"].endswith(f"it needs the endpoint of job {server} (server), which failed")


def test_a_client_of_a_server_that_is_not_kept_has_failed_with_it(desk: Desk):
    server, asking = desk.pipeline({"server": serve(desk), "asking": client(desk, "server")})
    open_endpoint(desk, server)
    desk.promote()

    desk.end(asking, GONE)
    end_live(desk, server, TOOL)
    desk.promote()

    assert desk.states(server, asking) == [JobState.FAILED, JobState.FAILED]
    assert desk.job(asking).failure["kind"] == "server_gone"


@pytest.mark.parametrize("first", ["client", "server"])
def test_a_client_that_lost_its_worker_together_with_its_server_waits_until_that_is_ready_again(desk: Desk, first: str):
    server, asking = desk.pipeline({"server": serve(desk), "asking": client(desk, "server")})
    open_endpoint(desk, server)
    desk.promote()
    with desk.database.write() as session:
        a_running_attempt(session, session.get_one(Job, asking))

    for job in (asking, server) if first == "client" else (server, asking):
        lose_live(desk, job)
    both = desk.states(server, asking)
    desk.promote()
    between = desk.states(server, asking)
    open_endpoint(desk, server)
    desk.promote()

    assert both == [JobState.QUEUED, JobState.QUEUED]
    assert between == [JobState.QUEUED, JobState.WAITING]
    assert desk.states(asking) == [JobState.QUEUED]
    desk.end(asking)
    assert desk.states(asking) == [JobState.SUCCEEDED]


def lose_live(desk: Desk, job: int) -> None:
    with desk.database.write() as session:
        live = select(Attempt.id).where(Attempt.job_id == job).order_by(Attempt.id.desc()).limit(1)
        lifecycle.lose(session, session.scalars(live).one(), now=now(), why="its worker died", max_attempts=3)


def test_a_client_that_finds_its_server_lost_to_a_fault_is_not_failed_for_it(desk: Desk):
    server, asking = desk.pipeline({"server": serve(desk), "asking": client(desk, "server")})
    open_endpoint(desk, server)
    desk.promote()
    with desk.database.write() as session:
        running = a_running_attempt(session, session.get_one(Job, asking))
    lose_live(desk, server)

    with desk.database.write() as session:
        finish(session, session.get_one(Attempt, running.id), GONE)
    desk.promote()

    assert desk.states(server, asking) == [JobState.QUEUED, JobState.WAITING]


def test_a_queued_client_of_a_server_that_is_being_stopped_is_not_placed(desk: Desk):
    server, asking = desk.pipeline({"server": serve(desk), "asking": client(desk, "server")})
    open_endpoint(desk, server)
    desk.promote()
    with desk.database.write() as session:
        lifecycle.stop(session, server, by=None, now=now(), why="enough")

    desk.promote()
    waiting = desk.states(asking)
    end_live(desk, server, None)
    desk.promote()

    assert waiting == [JobState.WAITING]
    assert desk.states(server, asking) == [JobState.SUCCEEDED, JobState.SKIPPED]


def test_a_client_that_was_cancelled_does_not_wait_for_the_next_server(desk: Desk, kept: tuple[int, int]):
    _, asking = kept
    with desk.database.write() as session:
        running = a_running_attempt(session, session.get_one(Job, asking))
        lifecycle.cancel(session, asking, by=None, now=now())
        finish(session, running, GONE)

    assert desk.states(asking) == [JobState.CANCELLED]
