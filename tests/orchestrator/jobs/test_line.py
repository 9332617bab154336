"""The end of an attempt starts the next job in line on its slot, and only a job that a turn would place there now."""

from collections.abc import Callable
from datetime import timedelta

import pytest
from builders.databases import at_once
from builders.desk import Desk
from builders.lifecycle import (
    FAULT,
    LEASE,
    WORKER,
    a_job,
    a_running_attempt,
    a_slot,
    ending,
    events_of,
    now,
    owner_of,
    state_of,
)
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orchestrator.dispatcher.turn import take_turn
from orchestrator.jobs import bulk, lifecycle, line, orders, shares
from orchestrator.jobs.ownership import Owner
from orchestrator.model.failures import Failure, Suspicion
from orchestrator.model.orders import Action, Order
from orchestrator.model.reservations import ReservationRequest
from orchestrator.model.states import AttemptState, JobState
from orchestrator.slots import reservations, service
from orchestrator.storage.tables import Attempt, Event, Job, Lease, Slot
from workers.attempt import report
from workers.attempt.collect import Results


def _turn(desk: Desk) -> list[int]:
    return [bell.attempt_id for bell in take_turn(desk.database, desk.store, lease=LEASE, lost_after=LEASE)]


def _arrive(session: Session, **facts: object) -> int:
    """A new job, queued as submission queues it."""
    job = a_job(session, JobState.WAITING, **facts)
    assert bulk.queue_ready(session, bulk.JOB.c.id == job.id, now=now()) == [job.id]
    return job.id


def _busy(desk: Desk, *jobs: dict[str, object], slot: str = "g0") -> tuple[int, list[int]]:
    """An attempt that runs on a slot, the only free one, and queued jobs; a turn has decided which come next."""
    with desk.database.write() as session:
        attempt_id = a_running_attempt(session, slot=a_slot(session, slot)).id
        queued = [_arrive(session, **facts) for facts in jobs or ({}, {})]
    assert _turn(desk) == []
    return attempt_id, queued


def _end(desk: Desk, attempt_id: int, failure: Failure | None = None, suspicion: Suspicion | None = None) -> int | None:
    """The attempt ends; the job that its worker goes on with."""
    with desk.database.read() as session:
        owner = owner_of(session, attempt_id)
    told = ending(failure) if suspicion is None else lifecycle.Ending(failure, 1.5, None, 0, suspicion)
    found = report.finish(desk.database, attempt_id, told, Results(), owner=owner, max_attempts=3, lease=LEASE)
    return None if found.following is None else found.following.job_id


def test_the_end_of_an_attempt_starts_the_next_job_on_its_slot(desk: Desk):
    attempt_id, (first, second) = _busy(desk)

    assert _end(desk, attempt_id) == first

    with desk.database.read() as session:
        following = session.scalars(select(Attempt).where(Attempt.job_id == first)).one()
        (lease,) = session.scalars(select(Lease))
        assert (lease.slot_id, lease.attempt_id) == (following.slot_id, following.id)
        assert (following.state, following.worker, following.number) == (AttemptState.RUNNING, WORKER, 1)
        assert session.get_one(Job, first).started_at == following.started_at == following.assigned_at
        assert events_of(session, first)[-2:] == ["attempt.assigned", "job.running"]
        why = session.scalars(select(Event.data).where(Event.attempt_id == following.id)).first()
        assert why == {"why": line.WHY}
        following_id = following.id
    assert _end(desk, following_id) == second


def test_without_a_line_only_a_turn_places(desk: Desk):
    with desk.database.write() as session:
        attempt_id = a_running_attempt(session, slot=a_slot(session, "g0")).id
        queued = _arrive(session)

    assert _end(desk, attempt_id) is None
    assert state_of(desk.database, queued) is JobState.QUEUED
    assert len(_turn(desk)) == 1


def test_the_line_is_in_the_order_of_priority_then_age(desk: Desk):
    attempt_id, (old, urgent) = _busy(desk, {"priority": 2}, {"priority": 7})

    assert _end(desk, attempt_id) == urgent
    assert state_of(desk.database, old) is JobState.QUEUED


def _order(action: Action, job: int, priority: int | None = None) -> Callable[[Desk, list[int]], None]:
    def give(desk: Desk, jobs: list[int]) -> None:
        with desk.database.admission() as (session, at):
            orders.carry_out(session, jobs[job], Order(action, "alice", None, priority), now=at)

    return give


def _return_one(session: Session) -> None:
    lifecycle.queue(session, a_job(session, JobState.WAITING), start=JobState.WAITING, now=now())


def _write(change: Callable[[Session], object]) -> Callable[[Desk, list[int]], None]:
    def written(desk: Desk, jobs: list[int]) -> None:
        with desk.database.admission() as (session, _):
            change(session)

    return written


@pytest.mark.parametrize("action", [Action.CANCEL, Action.HOLD])
def test_a_job_in_line_that_is_cancelled_or_held_is_passed_over(desk: Desk, action: Action):
    attempt_id, jobs = _busy(desk)
    _order(action, 0)(desk, jobs)

    assert _end(desk, attempt_id) == jobs[1]
    assert state_of(desk.database, jobs[0]) is (JobState.CANCELLED if action is Action.CANCEL else JobState.QUEUED)


@pytest.mark.parametrize(
    "change",
    [
        _order(Action.PRIORITY, 1, 9),
        _order(Action.FRONT, 1),
        _write(lambda session: _arrive(session, priority=9)),
        _write(lambda session: _arrive(session, project="other")),
        _write(lambda session: _arrive(session, demand="card_group x2")),
        _write(lambda session: shares.set_weight(session, "other", 5, now=now())),
        _write(_return_one),
    ],
    ids=["other priority", "to the front", "more urgent", "another project", "a gang", "a weight", "returned"],
)  # fmt: skip
def test_whatever_changes_the_order_is_decided_by_a_turn_first(desk: Desk, change: Callable[[Desk, list[int]], None]):
    attempt_id, jobs = _busy(desk)
    change(desk, jobs)

    assert _end(desk, attempt_id) is None
    assert {state_of(desk.database, job) for job in jobs} == {JobState.QUEUED}


def test_a_later_job_of_the_same_kind_leaves_the_line_as_it_is(desk: Desk):
    attempt_id, (first, _) = _busy(desk)
    with desk.database.write() as session:
        _arrive(session)
        _arrive(session, priority=0)

    assert _end(desk, attempt_id) == first


def test_a_moved_job_comes_first_when_a_turn_has_decided_again(desk: Desk):
    attempt_id, jobs = _busy(desk)
    _order(Action.FRONT, 1)(desk, jobs)
    _turn(desk)

    assert _end(desk, attempt_id) == jobs[1]


def test_an_unheld_job_is_in_line_again(desk: Desk):
    attempt_id, jobs = _busy(desk)
    _order(Action.HOLD, 0)(desk, jobs)
    _turn(desk)
    _order(Action.UNHOLD, 0)(desk, jobs)
    _turn(desk)

    assert _end(desk, attempt_id) == jobs[0]


def _reserve(session: Session) -> None:
    asked = ReservationRequest(slots=("lab1.g0",), starts_at=now() + timedelta(hours=1), seconds=60, project=None)
    reservations.reserve(session, asked, by="alice", now=now())


@pytest.mark.parametrize(
    "change",
    [
        lambda session: service.drain(session, "lab1.g0", by="alice", note=None, now=now()),
        lambda session: service.quarantine(session, "lab1.g0", by="alice", note=None, now=now()),
        _reserve,
        lambda session: session.execute(update(Slot).values(deaf={"reason": "hears nothing"})),
        lambda session: session.execute(update(Slot).values(heartbeat_at=now() - 2 * LEASE)),
        lambda session: session.execute(update(Slot).values(lacks={"r1": {"why": "gone", "at": now().isoformat()}})),
        lambda session: session.execute(update(Slot).values(worker="another")),
    ],
    ids=["drained", "quarantined", "reserved", "deaf", "silent", "without the release", "of another worker"],
)
def test_a_slot_that_shall_take_no_more_takes_nothing(desk: Desk, change: Callable[[Session], object]):
    attempt_id, jobs = _busy(desk, {"demand": "card_group @r1"})
    _write(change)(desk, jobs)

    assert _end(desk, attempt_id) is None
    assert state_of(desk.database, jobs[0]) is JobState.QUEUED


def test_an_end_that_puts_its_slot_under_suspicion_takes_nothing(desk: Desk):
    attempt_id, jobs = _busy(desk)

    assert _end(desk, attempt_id, suspicion=Suspicion(reason="HPGR", signature="hpgr")) is None
    assert state_of(desk.database, jobs[0]) is JobState.QUEUED


def test_a_job_that_returns_to_the_queue_is_not_overtaken_by_the_line(desk: Desk):
    attempt_id, jobs = _busy(desk)

    assert _end(desk, attempt_id, FAULT) is None
    assert {state_of(desk.database, job) for job in jobs} == {JobState.QUEUED}


def test_jobs_in_line_go_elsewhere_as_soon_as_another_slot_is_idle(desk: Desk):
    """The slot whose end they wait for may be busy for hours."""
    attempt_id, (first, second) = _busy(desk)
    with desk.database.write() as session:
        a_slot(session, "g1")

    (elsewhere,) = _turn(desk)

    with desk.database.read() as session:
        assert session.get_one(Attempt, elsewhere).job_id == first
    assert _end(desk, attempt_id) == second


def test_a_lost_worker_has_nothing_in_line_to_give_back(desk: Desk):
    attempt_id, jobs = _busy(desk)
    with desk.database.write() as session:
        lifecycle.lose(session, attempt_id, now=now(), why="its worker died", max_attempts=3)

    with desk.database.read() as session:
        assert session.scalars(select(Attempt).where(Attempt.job_id.in_(jobs))).all() == []
    assert {state_of(desk.database, job) for job in jobs} == {JobState.QUEUED}


def test_a_job_pinned_to_another_slot_is_left_to_it(desk: Desk):
    with desk.database.write() as session:
        other = a_running_attempt(session, slot=a_slot(session, "g1")).id
    attempt_id, (pinned, free) = _busy(desk, {"demand": "card_group g1", "priority": 9}, {})

    assert _end(desk, attempt_id) == free
    assert _end(desk, other) == pinned


def test_nothing_overtakes_a_gang_that_is_before_it(desk: Desk):
    with desk.database.write() as session:
        a_running_attempt(session, slot=a_slot(session, "g1"))
    attempt_id, (gang, single) = _busy(desk, {"demand": "card_group x2", "priority": 9}, {})

    assert _end(desk, attempt_id) is None
    assert [state_of(desk.database, job) for job in (gang, single)] == [JobState.QUEUED, JobState.QUEUED]


def test_a_long_attempt_gives_the_next_turn_to_the_project_that_had_less(desk: Desk):
    attempt_id, jobs = _busy(desk, {"project": "default"}, {"project": "other"})
    with desk.database.write() as session:
        session.execute(update(Attempt).where(Attempt.id == attempt_id).values(started_at=now() - 2 * line.SHORT))

    assert _end(desk, attempt_id) is None
    _turn(desk)
    assert [state_of(desk.database, job) for job in jobs] == [JobState.QUEUED, JobState.ASSIGNED]


@pytest.mark.parametrize("step", [timedelta(hours=1), -timedelta(hours=1)], ids=["forward", "back"])
def test_after_a_step_of_the_clock_a_turn_decides_again(desk: Desk, step: timedelta):
    attempt_id, _jobs = _busy(desk)
    with desk.database.write() as session:
        assert line.take(session, attempt_id, owner=Owner(WORKER, "lab1.g0"), now=now() + step, lease=LEASE) is None
    with desk.database.read() as session:
        assert line.is_due(session, now() + step)
        assert not line.is_due(session, now())


def test_a_line_that_is_half_used_up_is_decided_again(desk: Desk):
    attempt_id, _jobs = _busy(desk, {}, {}, {}, {})
    due = []
    for _ in range(3):
        job_id = _end(desk, attempt_id)
        with desk.database.read() as session:
            attempt_id = session.scalars(select(Attempt.id).where(Attempt.job_id == job_id)).one()
            due.append(line.is_due(session, now()))

    assert due == [False, False, True]


def test_two_workers_that_end_at_once_never_take_the_same_job(desk: Desk):
    with desk.database.write() as session:
        attempts = [a_running_attempt(session, slot=a_slot(session, name)).id for name in ("g0", "g1", "g2")]
        jobs = [_arrive(session) for _ in range(4)]
    _turn(desk)

    taken = at_once(*[lambda attempt_id=each: _end(desk, attempt_id) for each in attempts])

    assert sorted(taken) == sorted(set(taken))
    assert set(taken) <= set(jobs)
