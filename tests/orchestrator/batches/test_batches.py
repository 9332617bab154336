"""Batches: written whole or not at all, stopped in time, ended once; on both databases."""

from datetime import timedelta

import pytest
from builders.databases import at_once, nothing_written
from builders.desk import Desk, convert, quantize
from builders.lifecycle import (
    FAULT,
    LEASE,
    TOOL,
    a_running_attempt,
    a_slot,
    a_token,
    an_assigned_attempt,
    claim,
    now,
    owner_of,
)
from sqlalchemy import func, select, update

from orchestrator.batches import lifecycle as batch_lifecycle
from orchestrator.batches import orders
from orchestrator.batches import submit as submitting
from orchestrator.batches.submit import BatchSubmission
from orchestrator.dispatcher.turn import take_turn
from orchestrator.errors import BadSpec, IdempotencyMismatch, IllegalTransition, NotFound
from orchestrator.jobs import lifecycle
from orchestrator.jobs.admission import admissible
from orchestrator.jobs.lifecycle import Ending
from orchestrator.model.batches import BatchRequest
from orchestrator.model.demand import Demand
from orchestrator.model.failures import FailureKind, Suspicion
from orchestrator.model.orders import Action, Order
from orchestrator.model.states import JobState, ServiceState
from orchestrator.scheduling import explanation, queue
from orchestrator.scheduling.placement.explain import WaitsFor
from orchestrator.storage.tables import Artifact, Attempt, Batch, Event, IdempotencyRecord, Job, Slot
from orchestrator.submission.idempotency import Idempotency

STICKY = Suspicion(reason="HPGR: device error", signature="hpgr_device_error")


def _batches(desk: Desk) -> BatchSubmission:
    return BatchSubmission(desk.settings, desk.database, desk.store)


def _submit(desk: Desk, idempotency: Idempotency | None = None, **request) -> int:
    made = _batches(desk).submit(BatchRequest.model_validate({"name": "stress", **request}), idempotency)
    assert made.batch is not None
    return made.batch


def _infers(desk: Desk, count: int, **request) -> int:
    spec = desk.infer()
    return _submit(desk, jobs=[{"spec": spec} for _ in range(count)], **request)


def _slots(desk: Desk, *names: str, host: str = "lab1", **facts) -> None:
    with desk.database.write() as session:
        for name in names:
            a_slot(session, name, host=host, **facts)


def _jobs(desk: Desk, batch: int) -> list[Job]:
    with desk.database.read() as session:
        return list(session.scalars(select(Job).where(Job.batch_id == batch).order_by(Job.id)))


def _states(desk: Desk, batch: int) -> list[JobState]:
    return [job.state for job in _jobs(desk, batch)]


def _row(desk: Desk, batch: int) -> Batch:
    with desk.database.read() as session:
        return session.get_one(Batch, batch)


def _turn(desk: Desk) -> None:
    take_turn(desk.database, desk.store, lease=LEASE, lost_after=LEASE)


def _keep(desk: Desk) -> None:
    """What a turn does with batches, without placing anything."""
    with desk.database.write() as session:
        batch_lifecycle.advance(session, now=now())


def _run(desk: Desk, job: Job, slot: str | None = None) -> Attempt:
    with desk.database.write() as session:
        place = None if slot is None else session.get_one(Slot, f"lab1.{slot}")
        return a_running_attempt(session, session.get_one(Job, job.id), place)


def _end(desk: Desk, attempt: Attempt, failure=None, suspicion=None) -> None:
    ending = Ending(failure, 1.5, None, 0, suspicion)
    with desk.database.write() as session:
        lifecycle.finish(
            session, attempt.id, ending, owner=owner_of(session, attempt.id, "worker-a"), now=now(), max_attempts=3
        )


def _told(desk: Desk, batch: int) -> list[str]:
    """The batch's own events."""
    with desk.database.read() as session:
        events = session.scalars(select(Event).where(Event.kind.startswith("batch.")).order_by(Event.id))
        return [event.kind for event in events if event.data["batch"] == batch]


# ── submitting ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_jobs_of_a_batch_are_queued_together_in_the_order_of_the_list(desk):
    spec = desk.infer()

    batch = _submit(desk, project="nightly", jobs=[{"spec": spec, "name": name} for name in ("b", "a")])

    jobs = _jobs(desk, batch)
    assert [job.name for job in jobs] == ["b", "a"]
    assert {job.project for job in jobs} == {"nightly"}
    assert {(job.state, job.request["name"] == job.name) for job in jobs} == {(JobState.QUEUED, True)}
    assert _told(desk, batch) == ["batch.created"]


def test_many_portions_make_one_batch(desk, monkeypatch):
    monkeypatch.setattr(submitting, "PORTION", 2)

    batch = _infers(desk, 5)

    assert _states(desk, batch) == [JobState.QUEUED] * 5
    assert _row(desk, batch).sealed_at is not None


def test_a_file_that_all_jobs_name_is_stored_and_listed_once(desk):
    batch = _infers(desk, 4)

    with desk.database.read() as session:
        listed = session.scalar(select(func.count()).select_from(Artifact).where(Artifact.name == "prompts"))
    assert listed == 1
    assert len(_jobs(desk, batch)) == 4


def test_a_template_is_made_so_many_times_on_each_slot_and_pinned_there(desk):
    _slots(desk, "g0", "g1")

    batch = _submit(desk, template={"spec": desk.infer()}, times=2, slots=["lab1.g1", "g0"])

    jobs = _jobs(desk, batch)
    assert [job.name for job in jobs] == ["lab1.g1-1", "g0-1", "lab1.g1-2", "g0-2"]
    assert [Demand.parse(job.demand).only for job in jobs] == [("lab1.g1",), ("g0",)] * 2
    assert jobs[0].request["placement"]["slot"] == "lab1.g1"


def test_all_slots_are_those_that_serve_and_the_batch_says_which_are_left_out_and_why(desk):
    _slots(desk, "g1", "g2", "cpu0")
    _slots(desk, "g3", service_state=ServiceState.QUARANTINED)
    _slots(desk, "g4", heartbeat_at=None)

    batch = _submit(desk, template={"spec": desk.infer(), "placement": {"exclude": ["g2"]}}, slots="all")

    assert [job.name for job in _jobs(desk, batch)] == ["lab1.g1-1"]
    assert _row(desk, batch).left_out == {
        "lab1.g2": "is not among those that the template allows",
        "lab1.g3": "is quarantined",
        "lab1.g4": "has no live worker",
    }


@pytest.mark.parametrize(
    ("request_", "field", "told"),
    [
        ({"template": {}, "slots": ["g7"]}, "template.placement.slot", "there is no slot g7"),
        ({"template": {"release": "none"}, "slots": ["g0"]}, "template.release", "not registered"),
        ({"template": {"placement": {"labels": {"rack": "z"}}}}, "template.placement.labels", "no slot carries"),
        ({"jobs": [{}, {"needs": [999]}]}, "jobs.1.needs", "no job 999"),
        ({"jobs": [{}, {"needs": ["sibling"]}]}, "jobs.1.needs", "no job 'sibling'"),
    ],
)
def test_a_batch_that_can_not_be_is_refused_with_its_field_and_nothing_is_written(desk, request_, field, told):
    _slots(desk, "g0", "g1", "g2")
    spec = {"spec": desk.infer()}
    request_ = {name: {**spec, **value} if name == "template" else value for name, value in request_.items()}
    if "jobs" in request_:
        request_["jobs"] = [{**spec, **job} for job in request_["jobs"]]

    with nothing_written(desk.database), pytest.raises(BadSpec) as refused:
        _submit(desk, **request_)

    assert refused.value.field == field
    assert told in refused.value.detail


def test_all_slots_without_any_that_serves_is_refused_and_says_what_there_is(desk):
    _slots(desk, "g0", service_state=ServiceState.DRAINED)
    spec = desk.infer()

    with nothing_written(desk.database), pytest.raises(BadSpec, match=r"lab1\.g0 is drained"):
        _submit(desk, template={"spec": spec})


def test_the_same_key_twice_makes_one_batch_even_at_once(desk):
    with desk.database.write() as session:
        key = Idempotency(a_token(session).id, "k", "same")
    spec = desk.infer()

    made = at_once(*[lambda: _submit(desk, key, jobs=[{"spec": spec}] * 3)] * 2)
    with pytest.raises(IdempotencyMismatch):
        _submit(desk, Idempotency(key.token_id, "k", "other"), jobs=[{"spec": spec}])

    assert made[0] == made[1]
    assert len(_jobs(desk, made[0])) == 3


def test_builds_of_a_batch_take_their_result_from_the_cache_as_any_job_does(desk):
    first = desk.submit(convert())
    desk.build(first)

    batch = _submit(desk, jobs=[{"spec": convert()}, {"spec": quantize()}])
    desk.promote()

    assert _states(desk, batch) == [JobState.SUCCEEDED, JobState.QUEUED]
    assert _jobs(desk, batch)[0].cached_from == first


def test_a_job_of_a_batch_waits_for_one_that_it_needs_outside(desk):
    needed = desk.submit(quantize())

    batch = _submit(desk, jobs=[{"spec": desk.infer(), "needs": [needed]}])
    before = _states(desk, batch)
    desk.build(needed)
    desk.promote()

    assert before == [JobState.WAITING]
    assert _states(desk, batch) == [JobState.QUEUED]


# ── a writer that dies ───────────────────────────────────────────────────────────────────────────────────────────────


def _break_off(desk: Desk, monkeypatch, at: str, key: Idempotency | None = None) -> int:
    """Submit three jobs and die before `at`, as a killed process would."""
    spec = desk.infer()
    monkeypatch.setattr(submitting, "PORTION", 2)
    with monkeypatch.context() as broken:
        broken.setattr(BatchSubmission, at, _killed)
        broken.setattr(batch_lifecycle, "give_up", _killed)
        with pytest.raises(_Killed):
            _submit(desk, key, jobs=[{"spec": spec}] * 3)
    with desk.database.read() as session:
        return session.scalars(select(Batch.id)).one()


class _Killed(BaseException):
    pass


def _killed(*_, **__):
    raise _Killed


def _later(desk: Desk, batch: int) -> None:
    """Let more than the patience with an open batch pass."""
    with desk.database.write() as session:
        past = now() - batch_lifecycle.GIVEN_UP_AFTER - timedelta(seconds=1)
        session.execute(update(Batch).where(Batch.id == batch).values(touched_at=past))


def test_nothing_of_a_batch_starts_before_all_of_it_is_written(desk, monkeypatch):
    _slots(desk, "g0", "g1")
    batch = _break_off(desk, monkeypatch, "_seal")

    _turn(desk)

    assert _states(desk, batch) == [JobState.WAITING] * 3
    with desk.database.read() as session:
        assert admissible(session, now=now()) == []
        told = explanation.explanation(
            session, _jobs(desk, batch)[0].id, now=now(), lost_after=LEASE, aging=timedelta(hours=1)
        )
    assert WaitsFor.BATCH_OPEN in {reason.kind for reason in told.reasons}


@pytest.mark.parametrize(("at", "written"), [("_fill", 0), ("_seal", 3)])
def test_a_batch_whose_writer_died_is_cancelled_and_its_key_is_free_again(desk, monkeypatch, at, written):
    with desk.database.write() as session:
        key = Idempotency(a_token(session).id, "k", "same")
    batch = _break_off(desk, monkeypatch, at, key)
    soon = batch_lifecycle.give_up_stale(desk.database)
    _later(desk, batch)

    given_up = [batch_lifecycle.give_up_stale(desk.database), batch_lifecycle.give_up_stale(desk.database)]
    again = _infers(desk, 1, idempotency=key)

    assert (soon, given_up) == (0, [1, 0])
    assert _states(desk, batch) == [JobState.CANCELLED] * written
    assert "submit it again" in _row(desk, batch).stop["reason"]
    assert _told(desk, batch) == ["batch.created", "batch.ended"]
    assert again != batch


def test_a_writer_that_was_too_slow_finds_its_batch_given_up_and_adds_nothing(desk, monkeypatch):
    real = BatchSubmission._fill

    def slow(self, batch, *rest):
        real(self, batch, *rest)
        _later(desk, batch)
        batch_lifecycle.give_up_stale(desk.database)

    monkeypatch.setattr(BatchSubmission, "_fill", slow)

    with pytest.raises(IllegalTransition, match="abandoned"):
        _infers(desk, 3)

    with desk.database.read() as session:
        assert {job.state for job in session.scalars(select(Job))} == {JobState.CANCELLED}
        assert session.scalar(select(func.count()).select_from(IdempotencyRecord)) == 0


# ── stopping ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_lasting_fault_skips_what_has_not_begun_and_is_counted_once(desk):
    _slots(desk, "g0", "g1")
    batch = _infers(desk, 5, stop_on="sticky_fault")
    dying, running, *rest = _jobs(desk, batch)
    fault, other = _run(desk, dying, "g0"), _run(desk, running, "g1")

    _end(desk, fault, FAULT, STICKY)
    _turn(desk)

    after = _jobs(desk, batch)
    assert [job.state for job in after] == [JobState.FAILED, JobState.RUNNING, *[JobState.SKIPPED] * 3]
    assert after[0].failure["kind"] == FailureKind.FAULT
    assert f"not retried: batch {batch} was stopped" in after[0].failure["reason"]
    assert all(f"job {dying.id} (infer) on lab1.g0: HPGR" in job.failure["reason"] for job in after[2:])
    assert _row(desk, batch).stop["signature"] == "hpgr_device_error"
    assert _row(desk, batch).ended_at is None

    _end(desk, other)
    _turn(desk)

    assert _states(desk, batch)[1] is JobState.SUCCEEDED
    assert _told(desk, batch) == ["batch.created", "batch.stopped", "batch.ended"]
    assert len(rest) == 3


def test_an_attempt_that_nobody_has_claimed_is_taken_back_and_skipped(desk):
    _slots(desk, "g0", "g1")
    batch = _infers(desk, 2, stop_on="sticky_fault")
    dying, rung = _jobs(desk, batch)
    fault = _run(desk, dying, "g0")
    with desk.database.write() as session:
        attempt = an_assigned_attempt(session, session.get_one(Job, rung.id), session.get_one(Slot, "lab1.g1"))

    _end(desk, fault, FAULT, STICKY)
    _keep(desk)

    with desk.database.write() as session:
        assert not claim(session, session.get_one(Attempt, attempt.id))
    assert _states(desk, batch)[1] is JobState.SKIPPED


def test_held_jobs_are_skipped_too_and_what_needs_them_with_them(desk):
    batch = _infers(desk, 2, stop_on="sticky_fault")
    dying, held = _jobs(desk, batch)
    dependent = desk.submit(quantize(), needs=[held.id])
    fault = _run(desk, dying)
    orders.carry_out(desk.database, batch, Order(Action.HOLD, "alice"))
    _end(desk, fault, FAULT, STICKY)

    _turn(desk)

    assert _states(desk, batch)[1] is JobState.SKIPPED
    assert desk.states(dependent) == [JobState.SKIPPED]


@pytest.mark.parametrize(("failure", "stops"), [(TOOL, True), (FAULT, False)])
def test_a_batch_that_stops_on_failure_does_so_when_a_job_has_failed_and_not_while_it_is_tried_again(
    desk, failure, stops
):
    batch = _infers(desk, 2, stop_on="failure")
    attempt = _run(desk, _jobs(desk, batch)[0])

    _end(desk, attempt, failure)
    _keep(desk)

    assert (_row(desk, batch).stop is not None) == stops
    assert (_states(desk, batch)[1] is JobState.SKIPPED) == stops


def test_a_success_that_leaves_its_slot_dead_stops_the_batch_and_keeps_its_result(desk):
    batch = _infers(desk, 2, stop_on="sticky_fault")

    _end(desk, _run(desk, _jobs(desk, batch)[0]), suspicion=STICKY)
    _keep(desk)

    assert _states(desk, batch) == [JobState.SUCCEEDED, JobState.SKIPPED]


def test_a_batch_that_was_not_told_to_stop_goes_on_after_a_dead_card(desk):
    batch = _infers(desk, 2)

    _end(desk, _run(desk, _jobs(desk, batch)[0]), FAULT, STICKY)
    _keep(desk)

    assert _states(desk, batch) == [JobState.QUEUED] * 2


def test_another_batch_goes_on(desk):
    stopped, other = _infers(desk, 1, stop_on="failure"), _infers(desk, 1, stop_on="failure")

    _end(desk, _run(desk, _jobs(desk, stopped)[0]), TOOL)
    _keep(desk)

    assert _states(desk, other) == [JobState.QUEUED]


def test_a_job_whose_worker_was_stopped_in_good_order_has_run_and_not_failed_so_it_is_cancelled(desk):
    batch = _infers(desk, 2, stop_on="failure")
    failing, given_back = _jobs(desk, batch)
    with desk.database.write() as session:
        attempt = a_running_attempt(session, session.get_one(Job, given_back.id))
        lifecycle.give_back(
            session, attempt.id, owner=owner_of(session, attempt.id), now=now(), why="its worker was stopped"
        )

    _end(desk, _run(desk, failing), TOOL)
    _keep(desk)

    assert _states(desk, batch) == [JobState.FAILED, JobState.CANCELLED]


def test_a_batch_ends_once_when_its_last_job_has(desk):
    batch = _infers(desk, 2)
    for job in _jobs(desk, batch):
        assert _row(desk, batch).ended_at is None
        _end(desk, _run(desk, job))
        _keep(desk)

    _keep(desk)

    assert _told(desk, batch) == ["batch.created", "batch.ended"]
    with desk.database.read() as session:
        assert batch_lifecycle.due(session) == []
        ended = session.scalars(select(Event).where(Event.kind == "batch.ended")).one()
    assert (ended.data["state"], ended.data["counts"]) == ("succeeded", {"succeeded": 2})


# ── orders ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_for_a_batch_reaches_all_its_jobs_that_have_not_ended(desk, monkeypatch):
    monkeypatch.setattr(orders, "AT_ONCE", 2)
    batch = _infers(desk, 5)
    done, running, *_ = _jobs(desk, batch)
    _end(desk, _run(desk, done))
    _run(desk, running)

    held = orders.carry_out(desk.database, batch, Order(Action.HOLD, "alice"))
    orders.carry_out(desk.database, batch, Order(Action.UNHOLD, "alice"))
    cancelled = orders.carry_out(desk.database, batch, Order(Action.CANCEL, "alice"))

    assert [(outcome.job_id, outcome.refused is None) for outcome in held.outcomes] == [
        (job.id, job.id != running.id) for job in _jobs(desk, batch)[1:]
    ]
    assert [outcome.state for outcome in cancelled.outcomes] == [JobState.RUNNING, *[JobState.CANCELLED] * 3]


def test_a_batch_that_is_moved_to_the_front_keeps_its_order(desk, monkeypatch):
    monkeypatch.setattr(orders, "AT_ONCE", 2)
    other = desk.submit(desk.infer())
    batch = _infers(desk, 5)

    orders.carry_out(desk.database, batch, Order(Action.FRONT, "alice"))

    with desk.database.read() as session:
        in_order = session.scalars(select(Job.id).order_by(Job.rank, Job.id)).all()
        assert queue.classes(session)
    assert in_order == [*(job.id for job in _jobs(desk, batch)), other]


def test_an_order_for_a_batch_that_is_not_there_or_not_whole_is_refused(desk, monkeypatch):
    batch = _break_off(desk, monkeypatch, "_seal")

    with pytest.raises(IllegalTransition, match="still being written"):
        orders.carry_out(desk.database, batch, Order(Action.CANCEL, "alice"))
    with pytest.raises(NotFound):
        orders.carry_out(desk.database, batch + 1, Order(Action.CANCEL, "alice"))


def test_finishing_and_stopping_at_once_never_lock_each_other_out(desk):
    batch = _infers(desk, 12, stop_on="sticky_fault")
    attempts = [_run(desk, job) for job in _jobs(desk, batch)[:6]]

    at_once(
        *[lambda attempt=attempt: _end(desk, attempt, FAULT, STICKY) for attempt in attempts],
        *[lambda: _turn(desk)] * 3,
    )
    _turn(desk)

    assert _states(desk, batch) == [*[JobState.FAILED] * 6, *[JobState.SKIPPED] * 6]
    assert _told(desk, batch).count("batch.stopped") == 1
