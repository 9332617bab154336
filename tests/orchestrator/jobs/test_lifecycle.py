"""Every arrow of the state machine, on both databases."""

from datetime import timedelta
from functools import partial

import pytest
from builders.databases import at_once, nothing_written
from builders.lifecycle import (
    CANCELLED,
    FAULT,
    LEASE,
    SUCCESS,
    TOOL,
    WORKER,
    a_job,
    a_ready_server,
    a_running_attempt,
    a_slot,
    an_assigned_attempt,
    assign,
    claim,
    events_of,
    finish,
    needs,
    now,
    owner_of,
    state_of,
)
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from orchestrator.errors import IllegalTransition, NotFound, OwnershipLost
from orchestrator.jobs import lifecycle, line
from orchestrator.jobs.ownership import Owner, requests_of
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import FINAL, TRANSITIONS, AttemptState, JobState, Until
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Event, Job, Lease, Metric, Slot

COMMAND = {"argv": ["千"]}


def _lose(session: Session, attempt: Attempt, max_attempts: int = 3) -> bool:
    return lifecycle.lose(session, attempt.id, now=now(), why="its worker vanished", max_attempts=max_attempts)


def _lose_its_kept_server(session: Session, job: Job, attempt: Attempt) -> None:
    server = session.get_one(Job, a_ready_server(session, {"keep": True}).job_id)
    needs(session, job, server, until=Until.READY)
    finish(session, attempt, Failure(kind=FailureKind.SERVER_GONE, reason="it does not answer"))


def _fail_unstarted(session: Session, job: Job, start: JobState) -> bool:
    failure = Failure(kind=FailureKind.QUEUE_DEADLINE, reason="too late")
    return lifecycle.fail_unstarted(session, job.id, start=start, failure=failure, now=now())


def _take_next(session: Session, job: Job) -> None:
    ended = a_running_attempt(session, slot=a_slot(session, "g0", host="chained"))
    line.store(session, line.NextJobs([line.InLine(job.id, job.demand)]), now=now())
    finish(session, ended)
    assert line.take(session, ended.id, owner=Owner(WORKER, ended.slot_id), now=now(), lease=LEASE) is not None


def _leases(session: Session) -> list[str]:
    return list(session.scalars(select(Lease.slot_id)))


# ── the arrows ───────────────────────────────────────────────────────────────────────────────────────────────────────


def _arrows() -> dict[tuple[JobState, JobState], object]:
    """One way to walk each arrow: a function from a session to the job that walked it."""

    def walk(start: JobState, step):
        def walked(session: Session) -> int:
            job = a_job(session, start)
            attempt = session.scalars(select(Attempt).where(Attempt.job_id == job.id)).first()
            step(session, job, attempt)
            return job.id

        return walked

    waiting, queued, assigned, running = JobState.WAITING, JobState.QUEUED, JobState.ASSIGNED, JobState.RUNNING
    return {
        (waiting, queued): walk(waiting, lambda s, j, a: lifecycle.queue(s, j, start=waiting, now=now())),
        (waiting, JobState.SUCCEEDED): walk(
            waiting, lambda s, j, a: lifecycle.move(s, j.id, start=waiting, to=JobState.SUCCEEDED, now=now())
        ),
        (waiting, JobState.SKIPPED): walk(
            waiting, lambda s, j, a: lifecycle.move(s, j.id, start=waiting, to=JobState.SKIPPED, now=now())
        ),
        (waiting, JobState.FAILED): walk(waiting, lambda s, j, a: _fail_unstarted(s, j, waiting)),
        (waiting, JobState.CANCELLED): walk(waiting, lambda s, j, a: lifecycle.cancel(s, j.id, by=None, now=now())),
        (queued, assigned): walk(queued, lambda s, j, a: an_assigned_attempt(s, j)),
        (queued, running): walk(queued, lambda s, j, a: _take_next(s, j)),
        (queued, waiting): walk(
            queued, lambda s, j, a: lifecycle.move(s, j.id, start=queued, to=waiting, now=now(), why="its server died")
        ),
        (queued, JobState.FAILED): walk(queued, lambda s, j, a: _fail_unstarted(s, j, queued)),
        (queued, JobState.CANCELLED): walk(queued, lambda s, j, a: lifecycle.cancel(s, j.id, by=None, now=now())),
        (assigned, running): walk(assigned, lambda s, j, a: claim(s, a)),
        (assigned, queued): walk(assigned, lambda s, j, a: _lose(s, a)),
        (assigned, JobState.CANCELLED): walk(assigned, lambda s, j, a: lifecycle.cancel(s, j.id, by=None, now=now())),
        (queued, JobState.SKIPPED): walk(
            queued, lambda s, j, a: lifecycle.move(s, j.id, start=queued, to=JobState.SKIPPED, now=now())
        ),
        (running, JobState.SUCCEEDED): walk(running, lambda s, j, a: finish(s, a)),
        (running, JobState.FAILED): walk(running, lambda s, j, a: finish(s, a, TOOL)),
        (running, JobState.CANCELLED): walk(running, lambda s, j, a: finish(s, a, CANCELLED)),
        (running, queued): walk(running, lambda s, j, a: finish(s, a, FAULT)),
        (running, waiting): walk(running, _lose_its_kept_server),
    }


ARROWS = _arrows()


def test_every_arrow_of_the_table_is_walked_here_and_no_other():
    table = {(start, to) for start, ends in TRANSITIONS.items() for to in ends}

    assert set(ARROWS) == table


@pytest.mark.parametrize("arrow", ARROWS, ids=lambda arrow: f"{arrow[0]}-{arrow[1]}")
def test_an_arrow_moves_the_job_writes_its_event_and_a_new_version(database: Database, arrow):
    start, to = arrow
    with database.write() as session:
        before = a_job(session, start).version
        job_id = ARROWS[arrow](session)

    with database.read() as session:
        job = session.get_one(Job, job_id)
        last = session.scalars(
            select(Event).where(Event.job_id == job_id, Event.kind.like("job.%")).order_by(Event.id.desc())
        ).first()
        assert job.state is to
        assert job.version > before
        assert (last.kind, last.data["start"]) == (f"job.{to}", start)
        assert (job.ended_at is not None) == (to in FINAL)


@pytest.mark.parametrize("start", JobState)
def test_an_arrow_that_is_not_in_the_table_is_refused(sqlite_url: str, start: JobState):
    database = Database(sqlite_url)
    with database.write() as session:
        job = a_job(session, start)

        for to in set(JobState) - TRANSITIONS[start]:
            with pytest.raises(IllegalTransition):
                lifecycle.move(session, job.id, start=start, to=to, now=now())
    database.close()

    assert state_of(database, job.id) is start


def test_a_whole_life_leaves_one_event_for_each_arrow_in_order(database: Database):
    with database.write() as session:
        job = a_job(session)
        _lose(session, a_running_attempt(session, job))
        finish(session, a_running_attempt(session, job))

    with database.read() as session:
        assert events_of(session, job.id) == [
            "job.created", "job.queued",
            "job.assigned", "attempt.assigned", "job.running", "attempt.lost", "job.queued",
            "job.assigned", "attempt.assigned", "job.running", "attempt.succeeded", "job.succeeded",
        ]  # fmt: skip
        assert session.get_one(Job, job.id).version == 8


@pytest.mark.parametrize("start", [JobState.ASSIGNED, JobState.RUNNING])
def test_a_job_with_a_live_attempt_can_not_be_failed_past_it(sqlite_url: str, start: JobState):
    database = Database(sqlite_url)
    with database.write() as session:
        job = a_job(session, start)

        with pytest.raises(IllegalTransition):
            _fail_unstarted(session, job, start)
    database.close()


def test_a_job_that_left_its_state_is_not_moved_by_a_late_caller(database: Database):
    with database.write() as session:
        job = a_job(session, JobState.RUNNING)

        moved = _fail_unstarted(session, job, JobState.QUEUED)

    assert not moved
    assert state_of(database, job.id) is JobState.RUNNING


# ── assign ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_slot_can_not_be_leased_twice(database: Database):
    with database.write() as session:
        slot = a_slot(session)
        first, second = a_job(session), a_job(session)
        an_assigned_attempt(session, first, slot)

    def book_again() -> None:
        with database.write() as session:
            an_assigned_attempt(session, second, slot)

    with nothing_written(database), pytest.raises(IntegrityError):
        book_again()

    assert state_of(database, second.id) is JobState.QUEUED


def test_a_job_that_is_not_queued_gets_no_attempt(database: Database):
    with database.write() as session:
        slot = a_slot(session)
        job = a_job(session, JobState.CANCELLED)

    with nothing_written(database), database.write() as session:
        assert assign(session, job.id, slot.id) is None


def test_attempts_of_a_job_are_numbered_from_one(database: Database):
    with database.write() as session:
        job = a_job(session)

        first = a_running_attempt(session, job)
        _lose(session, first)
        second = a_running_attempt(session, job)

        assert (first.number, second.number) == (1, 2)


# ── claim ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_claimed_attempt_is_running_and_its_lease_is_new(database: Database):
    with database.write() as session:
        attempt = an_assigned_attempt(session)
        lease = session.get_one(Lease, attempt.slot_id)
        lease.expires_at = now() + timedelta(seconds=1)
        session.flush()

        taken = claim(session, attempt)

        session.refresh(lease)
        session.refresh(attempt)
        assert taken
        assert (attempt.state, attempt.worker) == (AttemptState.RUNNING, WORKER)
        assert attempt.started_at is not None
        assert lease.expires_at > now() + LEASE / 2


@pytest.mark.parametrize("worker", [WORKER, "worker-b"], ids=["same worker", "another worker"])
def test_a_second_claim_finds_nothing_to_take(database: Database, worker: str):
    with database.write() as session:
        attempt = a_running_attempt(session)

    with nothing_written(database), database.write() as session:
        assert claim(session, attempt, worker=worker) is False

    with database.read() as session:
        assert session.get_one(Attempt, attempt.id).worker == WORKER


def test_a_bell_for_an_attempt_that_never_was_finds_nothing(database: Database):
    with database.write() as session:
        assert lifecycle.claim(session, 4711, owner=Owner(WORKER, "lab1.g0"), now=now(), lease=LEASE) is False


def test_a_late_bell_for_a_lost_attempt_finds_nothing_although_the_job_is_assigned_again(database: Database):
    with database.write() as session:
        job = a_job(session)
        old = an_assigned_attempt(session, job)
        _lose(session, old)
        an_assigned_attempt(session, job)

    with nothing_written(database), database.write() as session:
        assert claim(session, old) is False

    assert state_of(database, job.id) is JobState.ASSIGNED


def test_of_four_workers_that_claim_the_same_fifty_attempts_each_attempt_has_one_winner(database: Database):
    with database.write() as session:
        attempts = [an_assigned_attempt(session).id for _ in range(50)]
    won: dict[str, list[int]] = {f"worker-{number}": [] for number in range(4)}

    def take_all(worker: str) -> None:
        for attempt_id in attempts:
            with database.write() as session:
                if lifecycle.claim(
                    session, attempt_id, owner=owner_of(session, attempt_id, worker), now=now(), lease=LEASE
                ):
                    won[worker].append(attempt_id)

    at_once(*[partial(take_all, worker) for worker in won])

    assert sorted(attempt_id for taken in won.values() for attempt_id in taken) == attempts
    with database.read() as session:
        owners = {attempt.id: attempt.worker for attempt in session.scalars(select(Attempt))}
        started = session.scalars(select(Event.attempt_id).where(Event.kind == "job.running")).all()
    assert owners == {attempt_id: worker for worker, taken in won.items() for attempt_id in taken}
    assert sorted(started) == attempts


# ── renew, note_start ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_renewal_extends_the_lease_and_tells_of_a_cancellation(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session)
        before = lifecycle.renew(session, attempt.id, owner=owner_of(session, attempt.id), now=now(), lease=LEASE)
        lifecycle.cancel(session, attempt.job_id, by=None, now=now())

        after = lifecycle.renew(
            session, attempt.id, owner=owner_of(session, attempt.id), now=now(), lease=timedelta(hours=1)
        )

        assert (before.cancel_requested, after.cancel_requested) == (False, True)
        assert session.get_one(Lease, attempt.slot_id).expires_at > now() + timedelta(minutes=59)


@pytest.mark.parametrize("trouble", ["another worker", "not claimed", "lost", "ended", "no lease", "never was"])
def test_who_does_not_own_the_attempt_can_not_renew_it(database: Database, trouble: str):
    with database.write() as session:
        attempt = an_assigned_attempt(session) if trouble == "not claimed" else a_running_attempt(session)
        match trouble:
            case "lost":
                _lose(session, attempt)
            case "ended":
                finish(session, attempt)
            case "no lease":
                session.delete(session.get_one(Lease, attempt.slot_id))
    worker = "worker-b" if trouble == "another worker" else WORKER
    attempt_id = 4711 if trouble == "never was" else attempt.id

    with database.write() as session, pytest.raises(OwnershipLost):
        lifecycle.renew(session, attempt_id, owner=owner_of(session, attempt_id, worker), now=now(), lease=LEASE)


def test_what_is_ordered_of_an_attempt_is_seen_without_extending_its_lease(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session)
        until = session.get_one(Lease, attempt.slot_id).expires_at
        before = requests_of(session, attempt.id, owner=owner_of(session, attempt.id))
        lifecycle.cancel(session, attempt.job_id, by=None, now=now())

    with nothing_written(database), database.read() as session:
        after = requests_of(session, attempt.id, owner=owner_of(session, attempt.id))
        lease = session.get_one(Lease, attempt.slot_id)

    assert (before.cancel_requested, after.cancel_requested) == (False, True)
    assert lease.expires_at == until


@pytest.mark.parametrize("trouble", ["another worker", "lost"])
def test_what_is_ordered_of_an_attempt_is_for_its_owner_alone(database: Database, trouble: str):
    with database.write() as session:
        attempt = a_running_attempt(session)
        if trouble == "lost":
            _lose(session, attempt)
    worker = "worker-b" if trouble == "another worker" else WORKER

    with database.read() as session, pytest.raises(OwnershipLost):
        requests_of(session, attempt.id, owner=owner_of(session, attempt.id, worker))


def test_only_the_owner_may_note_what_it_started(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session)
        lifecycle.note_start(
            session, attempt.id, lifecycle.Started(7, COMMAND), owner=owner_of(session, attempt.id), now=now()
        )

    with nothing_written(database), database.write() as session, pytest.raises(OwnershipLost):
        lifecycle.note_start(
            session, attempt.id, lifecycle.Started(8, {}), owner=owner_of(session, attempt.id, "worker-b"), now=now()
        )

    with database.read() as session:
        noted = session.get_one(Attempt, attempt.id)
        assert (noted.pid, noted.command) == (7, {"argv": ["千"]})


# ── finish ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("failure", "attempt_state", "job_state"),
    [
        (None, AttemptState.SUCCEEDED, JobState.SUCCEEDED),
        (TOOL, AttemptState.FAILED, JobState.FAILED),
        (FAULT, AttemptState.FAILED, JobState.QUEUED),
        (CANCELLED, AttemptState.CANCELLED, JobState.CANCELLED),
    ],
)
def test_an_ending_frees_the_slot_and_moves_the_job_on(database: Database, failure, attempt_state, job_state):
    with database.write() as session:
        attempt = a_running_attempt(session)

        answered = finish(session, attempt, failure)

    with database.read() as session:
        job = session.get_one(Job, attempt.job_id)
        ended = session.get_one(Attempt, attempt.id)
        assert answered is job.state is job_state
        assert ended.state is attempt_state
        assert ended.ended_at is not None
        assert _leases(session) == []
        assert session.get_one(Slot, attempt.slot_id).last_ended_at is not None
        told = job.failure and job.failure["kind"]
        assert told == (failure.kind if failure and job_state is not JobState.QUEUED else None)


@pytest.mark.parametrize("trouble", ["another worker", "lost", "lost and run elsewhere", "ended before", "not claimed"])
def test_a_worker_that_lost_its_attempt_writes_nothing_not_even_rows_beside_the_ending(
    database: Database, trouble: str
):
    with database.write() as session:
        attempt = an_assigned_attempt(session) if trouble == "not claimed" else a_running_attempt(session)
        if trouble.startswith("lost"):
            _lose(session, attempt)
        if trouble == "lost and run elsewhere":
            a_running_attempt(session, session.get_one(Job, attempt.job_id))
        if trouble == "ended before":
            finish(session, attempt, TOOL)
    before = state_of(database, attempt.job_id)

    def report() -> None:
        with database.write() as session:
            session.add(Metric(attempt_id=attempt.id, name="tpot", value=1.0, unit="s", definition="tpot/1", count=1))
            finish(session, attempt, worker="worker-b" if trouble == "another worker" else WORKER)

    with nothing_written(database), pytest.raises(OwnershipLost):
        report()

    assert state_of(database, attempt.job_id) is before


def test_a_success_after_a_failure_leaves_no_failure_on_the_job(database: Database):
    with database.write() as session:
        job = a_job(session, tool_retries=1)
        finish(session, a_running_attempt(session, job), TOOL)

        finish(session, a_running_attempt(session, job))

        session.refresh(job)
        assert (job.state, job.failure) == (JobState.SUCCEEDED, None)


def test_a_tool_that_fails_is_run_again_only_as_often_as_was_asked(database: Database):
    with database.write() as session:
        job = a_job(session, tool_retries=2)

        states = [finish(session, a_running_attempt(session, job), TOOL) for _ in range(3)]

    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]


def test_faults_do_not_use_up_the_tool_retries_nor_the_other_way_round(database: Database):
    with database.write() as session:
        job = a_job(session, tool_retries=1)

        states = [finish(session, a_running_attempt(session, job), failure) for failure in (FAULT, TOOL, FAULT, FAULT)]

    assert states == [JobState.QUEUED, JobState.QUEUED, JobState.QUEUED, JobState.FAILED]


@pytest.mark.parametrize(
    "kind", sorted(set(FailureKind) - {FailureKind.FAULT, FailureKind.TOOL, FailureKind.CANCELLED})
)
def test_no_other_failure_is_ever_retried(sqlite_url: str, kind: FailureKind):
    database = Database(sqlite_url)
    with database.write() as session:
        attempt = a_running_attempt(session, a_job(session, tool_retries=10))

        assert finish(session, attempt, Failure(kind=kind, reason="so")) is JobState.FAILED
    database.close()


def test_a_job_whose_cancellation_was_asked_for_is_not_queued_again_by_a_fault(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session)
        lifecycle.cancel(session, attempt.job_id, by=None, now=now())

        state = finish(session, attempt, FAULT)

    assert state is JobState.CANCELLED


def test_a_job_whose_cancellation_was_asked_for_is_not_queued_again_by_a_tool_retry(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session, a_job(session, tool_retries=5))
        lifecycle.cancel(session, attempt.job_id, by=None, now=now())

        state = finish(session, attempt, TOOL)

    assert state is JobState.CANCELLED


def test_finishing_an_attempt_that_never_was_is_told(database: Database):
    with database.write() as session, pytest.raises(NotFound):
        lifecycle.finish(session, 4711, SUCCESS, owner=Owner(WORKER, "lab1.g0"), now=now(), max_attempts=3)


# ── lose ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lost_attempt_frees_its_slot_and_queues_its_job(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session)

        assert _lose(session, attempt)

    with database.read() as session:
        assert session.get_one(Attempt, attempt.id).state is AttemptState.LOST
        assert _leases(session) == []
    assert state_of(database, attempt.job_id) is JobState.QUEUED


def test_after_max_attempts_faults_the_job_fails_as_a_fault(database: Database):
    with database.write() as session:
        job = a_job(session)

        states = []
        for _ in range(3):
            _lose(session, a_running_attempt(session, job))
            states.append(session.scalar(select(Job.state).where(Job.id == job.id)))

        session.refresh(job)
        assert states == [JobState.QUEUED, JobState.QUEUED, JobState.FAILED]
        assert job.failure["kind"] == FailureKind.FAULT
        assert "its worker vanished" in job.failure["reason"]


def test_an_attempt_that_nobody_claimed_is_no_fault(database: Database):
    with database.write() as session:
        job = a_job(session)

        for _ in range(5):
            _lose(session, an_assigned_attempt(session, job), max_attempts=1)

        session.refresh(job)
        assert job.state is JobState.QUEUED
        finish(session, a_running_attempt(session, job), FAULT, max_attempts=2)
        session.refresh(job)
        assert job.state is JobState.QUEUED


def test_a_job_that_is_given_back_was_no_fault(database: Database):
    with database.write() as session:
        job = a_job(session)

        for _ in range(4):
            attempt = a_running_attempt(session, job)
            mine = owner_of(session, attempt.id)
            lifecycle.give_back(session, attempt.id, owner=mine, now=now(), why="the worker was stopped")

        assert _leases(session) == []
        assert finish(session, a_running_attempt(session, job), FAULT, max_attempts=2) is JobState.QUEUED


def test_what_is_not_running_can_not_be_given_back(database: Database):
    with database.write() as session:
        attempt = an_assigned_attempt(session)

    with nothing_written(database), database.write() as session:
        assert not lifecycle.give_back(
            session, attempt.id, owner=owner_of(session, attempt.id), now=now(), why="the worker was stopped"
        )


def test_an_attempt_that_ended_can_not_be_lost(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session)
        finish(session, attempt)

    with nothing_written(database), database.write() as session:
        assert not _lose(session, attempt)

    assert state_of(database, attempt.job_id) is JobState.SUCCEEDED


def test_a_job_whose_cancellation_was_asked_for_ends_when_its_worker_is_lost(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session)
        lifecycle.cancel(session, attempt.job_id, by=None, now=now())

        _lose(session, attempt)

    assert state_of(database, attempt.job_id) is JobState.CANCELLED


def test_a_queue_deadline_is_set_anew_each_time_the_job_is_queued(database: Database):
    with database.write() as session:
        job = a_job(session, queue_seconds=100)
        first = job.queue_deadline_at
        attempt = a_running_attempt(session, job)

        lifecycle.lose(session, attempt.id, now=now() + timedelta(seconds=50), why="gone", max_attempts=3)

        session.refresh(job)
        assert job.queue_deadline_at > first + timedelta(seconds=40)


# ── cancel ───────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("start", [JobState.WAITING, JobState.QUEUED, JobState.ASSIGNED])
def test_a_job_of_which_nothing_runs_is_cancelled_at_once(database: Database, start: JobState):
    with database.write() as session:
        job = a_job(session, start)

        answered = lifecycle.cancel(session, job.id, by="alice", why="wrong model", now=now())

        session.refresh(job)
        assert answered is job.state is JobState.CANCELLED
        assert job.failure["reason"] == "cancelled by alice: wrong model"
        assert (job.cancel["by"], job.cancel["why"]) == ("alice", "wrong model")
        assert _leases(session) == []
        states = session.scalars(select(Attempt.state).where(Attempt.job_id == job.id)).all()
        assert set(states) <= {AttemptState.CANCELLED}


def test_a_running_job_is_asked_to_stop_once(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session)

        answers = [lifecycle.cancel(session, attempt.job_id, by=None, now=now()) for _ in range(2)]

        assert answers == [JobState.RUNNING, JobState.RUNNING]
        assert events_of(session, attempt.job_id).count("job.cancel_requested") == 1
        assert _leases(session) == [attempt.slot_id]


def _cancelled_as(session: Session, attempt: Attempt, *kinds: str) -> set[tuple]:
    """Who and why, as the events of these kinds, the job and the reasons say it: one of them if all agree."""
    job = session.get_one(Job, attempt.job_id, populate_existing=True)
    events = session.scalars(select(Event).where(Event.job_id == job.id, Event.kind.in_(kinds))).all()
    assert [event.kind for event in events] == list(kinds)
    assert job.state is JobState.CANCELLED
    return {(told["by"], told["why"], job.failure["reason"]) for told in (job.cancel, *(each.data for each in events))}


ORDERED = ("alice", "wrong model", "cancelled by alice: wrong model")


@pytest.mark.parametrize("end", ["killed by its worker", "a fault", "a lost worker", "a worker that stops"])
def test_a_running_job_that_was_cancelled_keeps_who_and_why_however_it_ends(database: Database, end: str):
    with database.write() as session:
        attempt = a_running_attempt(session)
        lifecycle.cancel(session, attempt.job_id, by="alice", why="wrong model", now=now())
        lifecycle.cancel(session, attempt.job_id, by="bob", why="me too", now=now())

        match end:
            case "killed by its worker":
                finish(session, attempt, CANCELLED)
            case "a fault":
                finish(session, attempt, FAULT)
            case "a lost worker":
                _lose(session, attempt)
            case _:
                mine = owner_of(session, attempt.id)
                lifecycle.give_back(session, attempt.id, owner=mine, now=now(), why="its worker was stopped")

        assert _cancelled_as(session, attempt, "job.cancel_requested", "job.cancelled") == {ORDERED}


def test_a_job_that_celery_alone_revoked_says_so_and_names_nobody(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session)

        finish(session, attempt, CANCELLED)

        told = ("celery revoke", None, "cancelled by celery revoke")
        assert _cancelled_as(session, attempt, "job.cancelled") == {told}
        session.refresh(attempt)
        assert attempt.failure["reason"] == "cancelled by celery revoke"


def test_an_assigned_job_that_is_cancelled_says_so_of_its_attempt_too(database: Database):
    with database.write() as session:
        attempt = an_assigned_attempt(session)

        lifecycle.cancel(session, attempt.job_id, by="alice", why="wrong model", now=now())

        assert _cancelled_as(session, attempt, "attempt.cancelled", "job.cancelled") == {ORDERED}


def test_cancelling_twice_changes_nothing(database: Database):
    with database.write() as session:
        job = a_job(session, JobState.CANCELLED)

    with nothing_written(database), database.write() as session:
        assert lifecycle.cancel(session, job.id, by=None, now=now()) is JobState.CANCELLED


@pytest.mark.parametrize("ended", sorted(FINAL - {JobState.CANCELLED}))
def test_a_job_that_ended_otherwise_can_not_be_cancelled(database: Database, ended: JobState):
    with database.write() as session:
        job = a_job(session, ended)

    with nothing_written(database), database.write() as session, pytest.raises(IllegalTransition):
        lifecycle.cancel(session, job.id, by=None, now=now())


def test_cancelling_a_job_that_never_was_is_told(database: Database):
    with database.write() as session, pytest.raises(NotFound):
        lifecycle.cancel(session, 4711, by=None, now=now())


def _race(database: Database, attempts: list[int], walk, jobs: list[int]) -> None:
    """Cancel every job while `walk` does something with its attempt; either may be first, nobody may be refused."""

    def cancel_all() -> None:
        for job_id in jobs:
            with database.write() as session:
                lifecycle.cancel(session, job_id, by=None, now=now())

    def walk_all() -> None:
        for attempt_id in attempts:
            with database.write() as session:
                walk(session, attempt_id)

    at_once(cancel_all, walk_all)


def test_a_cancellation_that_races_with_the_claim_leaves_one_clear_state(database: Database):
    with database.write() as session:
        made = [an_assigned_attempt(session) for _ in range(25)]
    attempts, jobs = [attempt.id for attempt in made], [attempt.job_id for attempt in made]

    def take(session: Session, attempt_id: int) -> None:
        lifecycle.claim(session, attempt_id, owner=owner_of(session, attempt_id), now=now(), lease=LEASE)

    _race(database, attempts, take, jobs)

    with database.read() as session:
        for job, attempt in session.execute(select(Job, Attempt).join(Attempt, Attempt.job_id == Job.id)):
            taken = attempt.state is AttemptState.RUNNING
            assert job.state is (JobState.RUNNING if taken else JobState.CANCELLED)
            assert job.cancel_requested is taken
            assert (session.get(Lease, attempt.slot_id) is not None) is taken


def test_a_cancellation_that_races_with_the_loss_of_the_attempt_ends_the_job(database: Database):
    with database.write() as session:
        made = [an_assigned_attempt(session) for _ in range(25)]
    attempts, jobs = [attempt.id for attempt in made], [attempt.job_id for attempt in made]

    def give_up(session: Session, attempt_id: int) -> None:
        lifecycle.lose(session, attempt_id, now=now(), why="gone", max_attempts=3)

    _race(database, attempts, give_up, jobs)

    with database.read() as session:
        assert set(session.scalars(select(Job.state))) == {JobState.CANCELLED}
        assert _leases(session) == []
