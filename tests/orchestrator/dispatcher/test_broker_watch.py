"""A broker that does not answer is noticed while nothing is to be placed, on both databases."""

import threading

import pytest
from builders.desk import Desk
from builders.lifecycle import a_job, a_slot, now
from eventually import eventually

from orchestrator.dispatcher.main import Dispatcher
from orchestrator.model.broker_findings import BrokerFinding
from orchestrator.model.states import JobState
from orchestrator.scheduling.explanation import explanation
from orchestrator.scheduling.placement.explain import WaitsFor
from orchestrator.slots import queries


@pytest.fixture
def idle(desk: Desk):
    """A dispatcher with nothing to do, and a broker that is away."""
    settings = desk.settings.model_copy(update={"broker_url": "redis://:s3cret@127.0.0.1:1/0"})
    dispatcher = Dispatcher(settings, desk.database)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    yield dispatcher
    dispatcher.stop()
    thread.join()


def _found(desk: Desk) -> BrokerFinding:
    with desk.database.read() as session:
        return queries.broker_finding(session, desk.database.now(session))


def test_a_dead_broker_is_found_by_an_idle_dispatcher_and_explained_to_every_job_that_waits(desk: Desk, idle):
    found = eventually(lambda: _found(desk).error)

    assert "127.0.0.1:1" in found
    assert "s3cret" not in found
    with desk.database.write() as session:
        assigned, placed_later = a_job(session, JobState.ASSIGNED), a_job(session, demand="cpu lab1.cpu7")
        a_slot(session, "cpu7", heartbeat_at=None)
    for job in (assigned, placed_later):
        assert WaitsFor.BROKER_TROUBLE in _kinds(desk, job.id)


def _kinds(desk: Desk, job_id: int) -> list[WaitsFor]:
    lease, aging = desk.settings.lease, desk.settings.aging
    with desk.database.read() as session:
        found = explanation(session, job_id, now=desk.database.now(session), lost_after=lease, aging=aging)
    return [reason.kind for reason in found.reasons]


def test_workers_are_found_by_the_name_that_celery_gives_them(desk: Desk):
    with desk.database.write() as session:
        a_slot(session, "g0")
        a_slot(session, "g1", heartbeat_at=None)
        a_slot(session, "cpu0", deaf={"reason": "does not hear"})
    with desk.database.read() as session:
        slots, alive = queries.workers_by_node(session, now(), desk.settings.lease)

    assert slots == {"g0@lab1": "lab1.g0", "g1@lab1": "lab1.g1", "cpu0@lab1": "lab1.cpu0"}
    assert alive == {"lab1.g0"}
