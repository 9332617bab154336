"""Turns, sweeps and leadership of the dispatcher, on both databases."""

from datetime import timedelta

import pytest
from builders.databases import at_once, nothing_written
from builders.desk import Desk, convert, request_of
from builders.lifecycle import (
    LEASE,
    TOOL,
    a_job,
    a_running_attempt,
    a_slot,
    a_waiting_job,
    an_assigned_attempt,
    claim,
    events_of,
    finish,
    now,
    state_of,
)
from sqlalchemy import select, update

from orchestrator.broker import Bell
from orchestrator.dispatcher import sweeps
from orchestrator.dispatcher.leader import Leadership, LeadLost
from orchestrator.dispatcher.turn import take_turn
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Job, Leader, Lease

AGAIN = timedelta(seconds=10)
TERM = timedelta(seconds=10)


def _turn(desk: Desk) -> list[Bell]:
    return take_turn(desk.database, desk.store, lease=LEASE, lost_after=LEASE)


# ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_queued_job_is_leased_a_free_slot_and_its_worker_is_named_in_the_bell(desk: Desk):
    with desk.database.write() as session:
        slot, job = a_slot(session, "g3"), a_job(session)

    (bell,) = _turn(desk)

    with desk.database.read() as session:
        attempt = session.get_one(Attempt, bell.attempt_id)
        assert (attempt.job_id, attempt.slot_id, attempt.state) == (job.id, slot.id, AttemptState.ASSIGNED)
        assert attempt.rung_at is not None
        assert session.get_one(Lease, slot.id).attempt_id == attempt.id
    assert (bell.queue, bell.task_id) == ("lab1.g3", f"{job.id}.1")
    assert state_of(desk.database, job.id) is JobState.ASSIGNED


@pytest.mark.parametrize(
    "facts",
    [
        *[{"service_state": state} for state in ServiceState if state is not ServiceState.IN_SERVICE],
        {"heartbeat_at": None},
        {"heartbeat_at": now() - LEASE * 2},
        {"deaf": {"reason": "does not hear"}},
    ],
    ids=["draining", "drained", "quarantined", "stopped", "silent", "deaf"],
)
def test_a_slot_that_is_not_live_and_in_service_gets_nothing(desk: Desk, facts: dict):
    with desk.database.write() as session:
        a_slot(session, **facts)
        a_job(session)

    with nothing_written(desk.database):
        assert _turn(desk) == []


def test_a_leased_slot_gets_nothing_even_when_the_lease_ran_out(desk: Desk):
    with desk.database.write() as session:
        attempt = a_running_attempt(session, slot=a_slot(session))
        session.get_one(Lease, attempt.slot_id).expires_at = now() - LEASE
        a_job(session)

    assert _turn(desk) == []


def test_jobs_are_placed_by_priority_then_age_and_each_slot_once(desk: Desk):
    with desk.database.write() as session:
        for name in ("g0", "g1", "cpu0"):
            a_slot(session, name)
        old, urgent, young = a_job(session), a_job(session, priority=9), a_job(session)
        build = a_job(session, request=request_of(convert()), priority=0)

    bells = _turn(desk)

    with desk.database.read() as session:
        placed = {session.get_one(Attempt, bell.attempt_id).job_id for bell in bells}
    assert placed == {old.id, urgent.id, build.id}
    assert len({bell.queue for bell in bells}) == len({bell.task_id for bell in bells}) == 3
    assert _turn(desk) == []
    assert state_of(desk.database, young.id) is JobState.QUEUED


def test_a_job_pinned_to_a_busy_slot_blocks_nobody(desk: Desk):
    with desk.database.write() as session:
        a_slot(session, "g1")
        pinned, free = a_job(session, demand="card_group g0", priority=9), a_job(session)

    (bell,) = _turn(desk)

    assert bell.queue == "lab1.g1"
    assert desk.states(pinned.id, free.id) == [JobState.QUEUED, JobState.ASSIGNED]


@pytest.mark.parametrize("others", [True, False], ids=["others free", "nothing else free"])
def test_a_job_goes_back_to_the_slot_where_it_failed_only_if_there_is_no_other(desk: Desk, others: bool):
    with desk.database.write() as session:
        bad = a_slot(session, "g0")
        job = a_job(session, tool_retries=1)
        finish(session, a_running_attempt(session, job, bad), TOOL)
        if others:
            a_slot(session, "g1", last_ended_at=now() + LEASE)

    (bell,) = _turn(desk)

    assert bell.queue == ("lab1.g1" if others else "lab1.g0")
    assert bell.task_id == f"{job.id}.2"


def test_the_slot_that_was_idle_longest_is_taken(desk: Desk):
    with desk.database.write() as session:
        a_slot(session, "g0", last_ended_at=now())
        a_slot(session, "g1", last_ended_at=now() - LEASE)
        a_job(session)

    assert [bell.queue for bell in _turn(desk)] == ["lab1.g1"]


def test_a_waiting_job_is_promoted_and_placed_in_one_turn(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        job = a_waiting_job(session)

    assert len(_turn(desk)) == 1
    assert desk.states(job.id) == [JobState.ASSIGNED]


def test_two_dispatchers_that_both_believe_to_lead_place_every_job_once(desk: Desk):
    with desk.database.write() as session:
        for name in ("g0", "g1", "g2", "g3"):
            a_slot(session, name)
        jobs = [a_job(session).id for _ in range(6)]

    bells = sum(at_once(*[lambda: _turn(desk)] * 3), [])  # noqa: RUF017

    assert len({bell.queue for bell in bells}) == len({bell.task_id for bell in bells}) == len(bells) == 4
    assert sorted(desk.states(*jobs)) == [JobState.ASSIGNED] * 4 + [JobState.QUEUED] * 2


def test_a_dispatcher_with_nothing_to_do_wakes_nobody(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        a_running_attempt(session)
        a_job(session, demand="card_group g7")
        an_assigned_attempt(session).rung_at = now()
    watch = desk.database.watch()
    watch.wait(0)

    bells = _turn(desk)
    bells += sweeps.ring_again(desk.database, after=AGAIN)
    sweeps.end_expired_leases(desk.database, max_attempts=3)
    sweeps.fail_overdue(desk.database)

    assert bells == []
    assert not watch.wait(0.2)
    watch.close()


# ── bells ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_bell_that_nobody_heard_is_rung_again_and_then_not_for_a_while(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        job = a_job(session)
    first = _turn(desk)
    with desk.database.write() as session:
        session.execute(update(Attempt).values(rung_at=now() - AGAIN * 2))

    assert sweeps.ring_again(desk.database, after=AGAIN) == first
    assert sweeps.ring_again(desk.database, after=AGAIN) == []
    with desk.database.read() as session:
        assert events_of(session, job.id)[-1] == "attempt.rung_again"


def test_a_bell_that_was_heard_is_not_rung_again(desk: Desk):
    with desk.database.write() as session:
        attempt = an_assigned_attempt(session)
        attempt.rung_at = now() - AGAIN * 2
        session.flush()
        claim(session, attempt)

    assert sweeps.ring_again(desk.database, after=AGAIN) == []


# ── leases and deadlines ─────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("claimed", [True, False])
def test_an_attempt_whose_lease_ran_out_is_lost_and_its_job_queued(desk: Desk, claimed: bool):
    with desk.database.write() as session:
        attempt = a_running_attempt(session) if claimed else an_assigned_attempt(session)
        alive = a_running_attempt(session)
        session.get_one(Lease, attempt.slot_id).expires_at = now() - timedelta(seconds=1)

    assert sweeps.end_expired_leases(desk.database, max_attempts=3) == 1

    with desk.database.read() as session:
        assert session.scalars(select(Lease.slot_id)).all() == [alive.slot_id]
        assert session.get_one(Attempt, attempt.id).state is AttemptState.LOST
    assert desk.states(attempt.job_id, alive.job_id) == [JobState.QUEUED, JobState.RUNNING]
    assert sweeps.end_expired_leases(desk.database, max_attempts=3) == 0


PAST, FUTURE = now() - timedelta(hours=1), now() + timedelta(hours=1)


OVERDUE = [
    (JobState.QUEUED, {"queue_deadline_at": PAST}, FailureKind.QUEUE_DEADLINE),
    (JobState.QUEUED, {"deadline_at": PAST}, FailureKind.TOTAL_DEADLINE),
    (JobState.QUEUED, {"deadline_at": PAST, "queue_deadline_at": PAST}, FailureKind.TOTAL_DEADLINE),
    (JobState.WAITING, {"deadline_at": PAST}, FailureKind.TOTAL_DEADLINE),
]
IN_TIME = [
    (JobState.WAITING, {"queue_deadline_at": PAST}, None),
    (JobState.QUEUED, {"deadline_at": FUTURE, "queue_deadline_at": FUTURE}, None),
    (JobState.ASSIGNED, {"deadline_at": PAST, "queue_deadline_at": PAST}, None),
    (JobState.RUNNING, {"deadline_at": PAST, "queue_deadline_at": PAST}, None),
    (JobState.SUCCEEDED, {"deadline_at": PAST, "queue_deadline_at": PAST}, None),
]


def test_only_jobs_that_have_not_started_in_time_are_failed_for_it(desk: Desk):
    jobs = {}
    with desk.database.write() as session:
        for state, facts, kind in OVERDUE + IN_TIME:
            job = a_job(session, state)
            session.execute(update(Job).where(Job.id == job.id).values(**facts))
            jobs[job.id] = (JobState.FAILED, kind) if kind else (state, None)

    failed = sweeps.fail_overdue(desk.database)

    ended = {number: desk.job(number) for number in jobs}
    assert failed == len(OVERDUE)
    assert {n: (job.state, job.failure and job.failure["kind"]) for n, job in ended.items()} == jobs


# ── leadership ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_one_leads_until_its_term_ends_and_then_another_may(database: Database):
    one, other = Leadership(database, "one", TERM), Leadership(database, "other", TERM)

    before = [one.acquire(), other.acquire(), one.acquire()]
    with database.write() as session:
        session.execute(update(Leader).values(expires_at=PAST))
    after = [other.acquire(), one.acquire()]

    assert before == [True, False, True]
    assert after == [True, False]


def test_who_resigns_lets_another_lead_at_once_and_only_the_leader_can(database: Database):
    one, other = Leadership(database, "one", TERM), Leadership(database, "other", TERM)
    one.acquire()

    other.resign()
    still = other.acquire()
    one.resign()

    assert (still, other.acquire()) == (False, True)


@pytest.mark.parametrize("successor", [True, False], ids=["another leads", "nobody leads yet"])
def test_a_leader_that_paused_beyond_its_term_places_nothing(desk: Desk, successor: bool):
    paused, other = (Leadership(desk.database, name, TERM) for name in ("paused", "other"))
    paused.acquire()
    with desk.database.write() as session:
        a_slot(session)
        job = a_job(session)
        session.execute(update(Leader).values(expires_at=PAST))
    if successor:
        other.acquire()

    with nothing_written(desk.database), pytest.raises(LeadLost):
        take_turn(desk.database, desk.store, lease=LEASE, lost_after=LEASE, leadership=paused)

    assert state_of(desk.database, job.id) is JobState.QUEUED


@pytest.mark.parametrize("expired", [True, False], ids=["an expired term", "no leader yet"])
def test_of_many_that_want_to_lead_at_once_one_does(database: Database, expired: bool):
    if expired:
        Leadership(database, "dead", TERM).acquire()
        with database.write() as session:
            session.execute(update(Leader).values(expires_at=PAST))

    led = at_once(*[Leadership(database, f"holder {number}", TERM).acquire for number in range(4)])

    assert sorted(led) == [False, False, False, True]
