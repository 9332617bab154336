"""Who may walk an attempt's arrows: the worker of its lead slot that has claimed it, and nobody else."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from builders.databases import nothing_written
from builders.lifecycle import (
    LEASE,
    SUCCESS,
    WORKER,
    a_job,
    a_running_attempt,
    a_server,
    a_slot,
    an_assigned_attempt,
    assign,
    claim,
    now,
    owner_of,
    state_of,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import OwnershipLost
from orchestrator.jobs import endpoints, lifecycle
from orchestrator.jobs.ownership import Owner, note_progress, requests_of
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Event, Lease, Slot

Arrow = Callable[[Session, int, Owner], Any]

ARROWS: dict[str, Arrow] = {
    "renew": lambda s, number, owner: lifecycle.renew(s, number, owner=owner, now=now(), lease=timedelta(hours=1)),
    "requests_of": lambda s, number, owner: requests_of(s, number, owner=owner),
    "note_start": lambda s, number, owner: lifecycle.note_start(
        s, number, lifecycle.Started(7, {"argv": ["x"]}), owner=owner, now=now()
    ),
    "announce": lambda s, number, owner: endpoints.announce(
        s, number, owner=owner, url="http://a:1", served_id="m", now=now()
    ),
    "finish": lambda s, number, owner: lifecycle.finish(
        s, number, SUCCESS, owner=owner, now=now(), max_attempts=3, store_results=_results_must_not_be_stored
    ),
}


def _results_must_not_be_stored() -> None:
    raise AssertionError("results of an attempt that is not the worker's")


@pytest.mark.parametrize("elsewhere", ["lab1.g1", "lab2.g0"], ids=["slot of the host", "slot of another host"])
def test_a_misrouted_bell_is_dropped_and_counted(database: Database, elsewhere: str):
    host, _, slot = elsewhere.rpartition(".")
    with database.write() as session:
        attempt = an_assigned_attempt(session, slot=a_slot(session, "g0"))
        a_slot(session, slot, host=host)

    for _ in range(2):
        with database.write() as session:
            owner = Owner(WORKER, elsewhere)
            assert not lifecycle.claim(session, attempt.id, owner=owner, now=now(), lease=LEASE)

    with database.read() as session:
        heard = session.scalars(select(Event).where(Event.kind == "slot.bell_misrouted")).all()
        counts = dict(session.execute(select(Slot.id, Slot.misrouted_bells)).all())
        told = session.get_one(Attempt, attempt.id)
    assert [(event.slot_id, event.attempt_id, event.data["leased_to"]) for event in heard] == [
        (elsewhere, attempt.id, "lab1.g0")
    ] * 2
    assert (counts[elsewhere], counts["lab1.g0"]) == (2, 0)
    assert (told.state, told.worker, state_of(database, attempt.job_id)) == (
        AttemptState.ASSIGNED, None, JobState.ASSIGNED,
    )  # fmt: skip
    with database.write() as session:
        assert claim(session, session.get_one(Attempt, attempt.id))


def test_a_gang_is_claimed_by_the_worker_of_its_lead_slot_alone(database: Database):
    with database.write() as session:
        a_slot(session, "g0")
        a_slot(session, "g1")
        attempt_id = assign(session, a_job(session).id, "lab1.g0", "lab1.g1")

    with database.write() as session:
        follower, lead = Owner(WORKER, "lab1.g1"), Owner(WORKER, "lab1.g0")
        assert not lifecycle.claim(session, attempt_id, owner=follower, now=now(), lease=LEASE)
        assert lifecycle.claim(session, attempt_id, owner=lead, now=now(), lease=LEASE)


@pytest.mark.parametrize("arrow", ARROWS.values(), ids=ARROWS)
@pytest.mark.parametrize("wrong", ["slot", "worker"])
def test_an_arrow_of_an_attempt_is_refused_to_a_worker_of_another_slot(database: Database, arrow: Arrow, wrong: str):
    with database.write() as session:
        attempt = a_server(session)
        a_slot(session, "g7")
    owner = Owner(WORKER, "lab1.g7") if wrong == "slot" else Owner("worker-b", attempt.slot_id)

    with nothing_written(database), database.write() as session, pytest.raises(OwnershipLost):
        arrow(session, attempt.id, owner)

    with database.write() as session:
        assert session.get_one(Lease, attempt.slot_id).expires_at < now() + 2 * LEASE
        untouched = session.get_one(Attempt, attempt.id)
        assert (untouched.state, untouched.pid) == (AttemptState.RUNNING, None)


@pytest.mark.parametrize("wrong", ["slot", "worker"])
def test_what_runs_is_given_back_and_makes_progress_by_its_own_worker_alone(database: Database, wrong: str):
    with database.write() as session:
        attempt = a_running_attempt(session)
        a_slot(session, "g7")
        mine = owner_of(session, attempt.id)
    other = Owner(WORKER, "lab1.g7") if wrong == "slot" else Owner("worker-b", attempt.slot_id)

    with nothing_written(database), database.write() as session:
        note_progress(session, attempt.id, {"done": 9}, owner=other)
        assert not lifecycle.give_back(session, attempt.id, owner=other, now=now(), why="stopped")

    with database.write() as session:
        assert session.get_one(Attempt, attempt.id).progress is None
        note_progress(session, attempt.id, {"done": 1}, owner=mine)
        assert lifecycle.give_back(session, attempt.id, owner=mine, now=now(), why="stopped")
    assert state_of(database, attempt.job_id) is JobState.QUEUED
