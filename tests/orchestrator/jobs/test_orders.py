"""What people order of jobs, on both databases."""

from datetime import timedelta

import pytest
from builders.databases import at_once, nothing_written
from builders.desk import Desk, convert
from builders.lifecycle import (
    FAULT,
    LEASE,
    a_job,
    a_running_attempt,
    a_slot,
    a_waiting_job,
    an_assigned_attempt,
    claim,
    events_of,
    finish,
    needs,
    now,
)
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from orchestrator.broker import Bell
from orchestrator.dispatcher import sweeps
from orchestrator.dispatcher.turn import take_turn
from orchestrator.errors import BadRequest, IllegalTransition, NotFound
from orchestrator.jobs import lifecycle, orders
from orchestrator.jobs.orders import Report
from orchestrator.model.orders import Action, BulkOrder, Order
from orchestrator.model.states import FINAL, JobState
from orchestrator.scheduling import queue
from orchestrator.storage.tables import Event, Job, Pipeline


def _turn(desk: Desk) -> list[Bell]:
    return take_turn(desk.database, desk.store, lease=LEASE, lost_after=LEASE)


def _do(session: Session, job: Job, action: Action, at=None, **more) -> JobState:
    return orders.carry_out(session, job.id, Order(action, "alice", **more), now=at or now())


def _hold(session: Session, job: Job, at=None) -> JobState:
    return _do(session, job, Action.HOLD, at, note="wait for the new kcore")


def _release(session: Session, job: Job, at=None) -> JobState:
    return _do(session, job, Action.UNHOLD, at)


def _bulk(desk: Desk, action: str, **order) -> Report:
    with desk.database.admission() as (session, moment):
        bulk = BulkOrder.model_validate({"action": action, **order})
        return orders.carry_out_bulk(session, bulk, "alice", now=moment)


def _told(report: Report) -> dict[int, str]:
    """The outcome for each job: its state, or the code of the refusal."""
    return {each.job_id: each.refused.code if each.refused else each.state for each in report.outcomes}


def _placed(desk: Desk) -> list[int]:
    """The jobs of the next turn, in the order in which they are placed one by one."""
    placed = []
    for bell in _turn(desk):
        with desk.database.write() as session:
            attempt = lifecycle._attempt(session, bell.attempt_id)
            placed.append(attempt.job_id)
            claim(session, attempt)
            finish(session, attempt)
    return placed


def _order_of_placement(desk: Desk) -> list[int]:
    """All jobs, as one slot would run them."""
    order = []
    while placed := _placed(desk):
        order += placed
    return order


# ── hold and unhold ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_held_job_is_not_placed_and_the_next_one_is(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        held, other = a_job(session, priority=9), a_job(session)
        _hold(session, held)

    assert _order_of_placement(desk) == [other.id]
    assert desk.states(held.id) == [JobState.QUEUED]


def test_a_released_job_is_placed(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        job = a_job(session)
        _hold(session, job)
        _release(session, job)

    assert _placed(desk) == [job.id]
    assert desk.job(job.id).hold is None


def test_a_hold_says_who_when_and_why_on_the_job_and_in_its_events(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session)
        _hold(session, job)

    held = desk.job(job.id)
    with desk.database.read() as session:
        event = session.scalars(select(Event).where(Event.kind == "job.held")).one()
    assert (held.held, held.hold["by"], held.hold["note"]) == (True, "alice", "wait for the new kcore")
    assert held.hold["at"]
    assert (event.job_id, event.data) == (job.id, {"by": "alice", "why": "wait for the new kcore"})
    assert held.version == job.version


def test_a_waiting_job_that_is_held_is_queued_when_its_need_has_ended_and_goes_no_further(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        need = a_job(session)
        job = a_waiting_job(session)
        needs(session, job, need)
        _hold(session, job)
        finish(session, a_running_attempt(session, need))

    _turn(desk)

    assert desk.states(job.id) == [JobState.QUEUED]
    assert desk.job(job.id).held


def test_a_held_job_can_be_cancelled_and_is_not_held_any_more(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session)
        _hold(session, job)
        _do(session, job, Action.CANCEL)

    assert (desk.job(job.id).state, desk.job(job.id).held) == (JobState.CANCELLED, False)


def test_the_clock_of_the_queue_stands_still_while_a_job_is_held(desk: Desk):
    queued_at = now() - timedelta(hours=5)
    with desk.database.write() as session:
        job = a_job(session)
        job.queued_at, job.queue_deadline_at = queued_at, queued_at + timedelta(hours=1)
        _hold(session, job, queued_at + timedelta(minutes=50))

    overdue_while_held = sweeps.fail_overdue(desk.database)
    with desk.database.write() as session:
        moment = now()
        _release(session, job, moment)

    assert overdue_while_held == 0
    assert desk.job(job.id).queue_deadline_at == moment + timedelta(minutes=10)
    assert sweeps.fail_overdue(desk.database) == 0


def test_a_hold_from_before_a_job_was_queued_takes_only_its_time_in_the_queue_from_the_clock(desk: Desk):
    with desk.database.write() as session:
        job = a_waiting_job(session, queue_seconds=600)
        _hold(session, job, now() - timedelta(hours=2))
        queued_at = now() - timedelta(hours=1)
        lifecycle.queue(session, job, start=JobState.WAITING, now=queued_at)
        moment = now()
        _release(session, job, moment)

    assert desk.job(job.id).queue_deadline_at == moment + timedelta(seconds=600)


def test_the_total_time_runs_on_while_a_job_is_held(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session, deadline_at=now() - timedelta(seconds=1))
        _hold(session, job)

    assert sweeps.fail_overdue(desk.database) == 1


def test_others_do_not_wait_for_an_identical_build_that_is_held(desk: Desk):
    held = desk.submit(convert())
    follower = desk.submit(convert())
    with desk.database.write() as session:
        a_slot(session, "cpu0")
        _hold(session, session.get_one(Job, held))

    bells = _turn(desk)
    latecomer = desk.submit(convert())

    assert len(bells) == 1
    assert desk.states(held, follower, latecomer) == [JobState.QUEUED, JobState.ASSIGNED, JobState.WAITING]
    assert desk.job(latecomer).joined_to == follower


@pytest.mark.parametrize("state", [JobState.ASSIGNED, JobState.RUNNING, *sorted(FINAL)])
def test_a_job_that_has_begun_or_ended_can_not_be_held(desk: Desk, state: JobState):
    with desk.database.write() as session:
        job = a_job(session, state)

    with (
        nothing_written(desk.database),
        pytest.raises(IllegalTransition, match=str(state)),
        desk.database.write() as session,
    ):
        _hold(session, job)


def test_holding_twice_and_releasing_what_is_not_held_change_nothing(desk: Desk):
    with desk.database.write() as session:
        held, free = a_job(session), a_job(session)
        _hold(session, held)

    with nothing_written(desk.database), desk.database.write() as session:
        _do(session, held, Action.HOLD, note="another reason")
        _release(session, free)

    assert desk.job(held.id).hold["note"] == "wait for the new kcore"


def test_a_job_that_is_held_while_a_turn_runs_is_either_placed_or_held(desk: Desk):
    with desk.database.write() as session:
        for index in range(8):
            a_slot(session, f"g{index}")
        jobs = [a_job(session).id for _ in range(8)]

    def hold_all() -> Report:
        return _bulk(desk, "hold", jobs=jobs)

    report, _ = at_once(hold_all, lambda: _turn(desk))

    held = {job for job, outcome in _told(report).items() if outcome == "queued"}
    for number in jobs:
        job = desk.job(number)
        assert (job.held, job.state) == ((True, JobState.QUEUED) if number in held else (False, JobState.ASSIGNED))


# ── order ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_another_priority_takes_effect_in_the_next_turn(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        first, second, third = (a_job(session) for _ in range(3))
        _do(session, third, Action.PRIORITY, priority=9)
        _do(session, first, Action.PRIORITY, priority=0)

    assert _order_of_placement(desk) == [third.id, second.id, first.id]


def test_the_front_is_that_of_the_jobs_own_priority(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        urgent, first, second, low = (a_job(session, priority=priority) for priority in (7, 5, 5, 1))
        _do(session, second, Action.FRONT)
        _do(session, low, Action.FRONT)

    assert _order_of_placement(desk) == [urgent.id, second.id, first.id, low.id]


def test_the_last_to_be_moved_to_the_front_is_first_and_those_moved_together_keep_their_order(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        jobs = [a_job(session).id for _ in range(5)]

    _bulk(desk, "front", jobs=[jobs[4]])
    _bulk(desk, "front", jobs=[jobs[3], jobs[2]])

    assert _order_of_placement(desk) == [jobs[2], jobs[3], jobs[4], jobs[0], jobs[1]]


def test_a_job_keeps_its_place_at_the_front_when_it_is_tried_again_and_loses_it_with_its_priority(desk: Desk):
    with desk.database.write() as session:
        again, moved = a_job(session), a_job(session)
        for job in (again, moved):
            _do(session, job, Action.FRONT)
        finish(session, a_running_attempt(session, again), FAULT)
        _do(session, moved, Action.PRIORITY, priority=6)

    assert desk.job(again.id).rank < 0
    assert desk.job(moved.id).rank == 0


def test_a_job_that_is_assigned_and_not_begun_may_still_get_another_priority(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session, JobState.ASSIGNED)

        assert _do(session, job, Action.PRIORITY, priority=8) is JobState.ASSIGNED


@pytest.mark.parametrize("state", [JobState.RUNNING, *sorted(FINAL)])
@pytest.mark.parametrize("action", [Action.PRIORITY, Action.FRONT])
def test_the_order_of_what_runs_or_has_ended_is_settled(desk: Desk, action: Action, state: JobState):
    with desk.database.write() as session:
        job = a_job(session, state)

        with pytest.raises(IllegalTransition, match=str(state)):
            _do(session, job, action, priority=9)


@pytest.mark.parametrize("held", [0, 3000], ids=["none held", "thousands held"])
def test_queue_classes_and_their_heads_are_found_by_the_index_in_order(desk: Desk, held: int):
    with desk.database.write() as session:
        a_job(session)
        copied = "name, kind, project, spec, request, release, slot_kind, demand, priority, state, version, \
                  cancel_requested, run_seconds, silence_seconds, log_bytes, tool_retries, created_at"
        source = "generate_series(1, :many)"
        if desk.database.is_sqlite:
            source = "(WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :many) SELECT i FROM n)"
        for many, flag in ((3000, False), (held, True)):
            session.execute(
                text(f"INSERT INTO job ({copied}, held) SELECT {copied}, :held FROM job, {source} WHERE job.id = 1")
                if many
                else text("SELECT :many, :held"),
                {"many": many, "held": flag},
            )
    bound = {"demand": "card_group", "project": "default", "priority": 5, "most": 8}
    statements = [
        queue._CLASSES,
        queue._HEAD_OF_CLASS.params(bound),
        queue._NEXT_OF_CLASS.params(bound, rank=0, job_id=4),
    ]

    with desk.database.engine.connect() as connection:
        if not desk.database.is_sqlite:
            connection.exec_driver_sql("ANALYZE job")
        explain = "EXPLAIN QUERY PLAN" if desk.database.is_sqlite else "EXPLAIN"
        compiled = [
            str(statement.compile(connection, compile_kwargs={"literal_binds": True})) for statement in statements
        ]
        plan = str([connection.exec_driver_sql(f"{explain} {statement}").all() for statement in compiled])

    assert "ix_job_queue" in plan
    assert "Sort" not in plan
    assert "TEMP B-TREE" not in plan


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_of_many_jobs_each_is_told_what_became_of_it(desk: Desk):
    with desk.database.write() as session:
        queued, running, ended = (
            a_job(session, state).id for state in (JobState.QUEUED, JobState.RUNNING, JobState.FAILED)
        )

    report = _bulk(desk, "hold", jobs=[queued, running, ended, 4711])

    assert _told(report) == {
        queued: "queued", running: "illegal_transition", ended: "illegal_transition", 4711: "not_found"
    }  # fmt: skip
    assert desk.job(queued).held


def test_a_filter_takes_what_fits_all_that_is_said_and_what_the_order_changes(desk: Desk):
    with desk.database.write() as session:
        wanted = [a_job(session, project="night").id, a_waiting_job(session, project="night").id]
        a_job(session, JobState.RUNNING, project="night")
        a_job(session, JobState.FAILED, project="night")
        a_job(session, project="day")
        _hold(session, a_job(session, project="night"))

    report = _bulk(desk, "hold", filter={"project": "night", "kind": "infer"})

    assert sorted(_told(report)) == sorted(wanted)
    assert report.left == 0
    assert _bulk(desk, "hold", filter={"project": "night"}).outcomes == ()


def test_more_than_fit_in_one_order_are_left_for_the_next(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(orders, "MOST_JOBS", 2)
    with desk.database.write() as session:
        for _ in range(5):
            a_job(session)

    left = [_bulk(desk, "cancel", filter={"kind": "infer"}).left for _ in range(3)]

    assert left == [3, 1, 0]
    with desk.database.write() as session:
        for _ in range(3):
            a_job(session)
    with pytest.raises(BadRequest, match="narrow"):
        _bulk(desk, "front", filter={"kind": "infer"})


def test_an_order_for_a_pipeline_reaches_all_of_it_that_has_not_ended(desk: Desk):
    with desk.database.write() as session:
        pipeline = Pipeline(name="p", project="default", created_at=now())
        session.add(pipeline)
        session.flush()
        states = (JobState.SUCCEEDED, JobState.RUNNING, JobState.QUEUED, JobState.WAITING)
        jobs = [a_job(session, state, pipeline_id=pipeline.id, name=str(state)).id for state in states]
        a_job(session)

    with desk.database.admission() as (session, moment):
        report = orders.carry_out_pipeline(session, pipeline.id, Order(Action.HOLD, "alice"), now=moment)

    assert _told(report) == dict(zip(jobs[1:], ["illegal_transition", "queued", "waiting"], strict=True))
    assert [desk.job(job).held for job in jobs] == [False, False, True, True]


def test_a_cancelled_chain_says_of_each_job_that_it_was_cancelled(desk: Desk):
    first, second, third = desk.pipeline({name: convert(backend_type=name) for name in (
        "qwen2_7b_bf16", "deepseek_qwen2_7b_bf16", "deepseek_qwen2_14b_bf16")})  # fmt: skip
    with desk.database.write() as session:
        needs(session, session.get_one(Job, third), session.get_one(Job, second))

    _bulk(desk, "cancel", jobs=[first, second, third], note="wrong model")

    assert desk.states(first, second, third) == [JobState.CANCELLED] * 3
    assert desk.job(third).failure["reason"] == "cancelled by alice: wrong model"


def test_a_pipeline_or_a_job_that_is_not_there_is_not_found(desk: Desk):
    with desk.database.write() as session:
        with pytest.raises(NotFound, match="pipeline 7"):
            orders.carry_out_pipeline(session, 7, Order(Action.HOLD, "alice"), now=now())
        with pytest.raises(NotFound, match="job 7"):
            orders.carry_out(session, 7, Order(Action.HOLD, "alice"), now=now())


def test_every_order_leaves_an_event_with_its_author(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session)
        for action, more in (
            (Action.HOLD, {}),
            (Action.UNHOLD, {}),
            (Action.PRIORITY, {"priority": 9}),
            (Action.FRONT, {}),
        ):
            _do(session, job, action, note="because", **more)

    with desk.database.read() as session:
        ordered = select(Event).where(Event.data["by"].as_string() == "alice").order_by(Event.id)
        told = {event.kind: event.data for event in session.scalars(ordered)}
        assert events_of(session, job.id)[-4:] == list(told)
    assert list(told) == ["job.held", "job.released", "job.reprioritised", "job.moved_to_front"]
    assert (told["job.reprioritised"]["was"], told["job.reprioritised"]["priority"]) == (5, 9)
    assert {data["why"] for data in told.values()} == {"because"}


def test_an_assigned_job_that_is_cancelled_in_bulk_gives_its_slot_back(desk: Desk):
    with desk.database.write() as session:
        attempt = an_assigned_attempt(session, slot=a_slot(session))
        waiting = a_job(session)

    _bulk(desk, "cancel", jobs=[attempt.job_id])

    assert _placed(desk) == [waiting.id]
