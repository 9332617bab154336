"""Gangs, what is kept for them, and run limits as they are in SQL, on both databases."""

from dataclasses import replace
from datetime import timedelta

import pytest
from builders.databases import nothing_written
from builders.desk import Desk, request_of
from builders.lifecycle import LEASE, a_job, a_running_attempt, a_slot, claim, finish, now
from sqlalchemy import event, select, update

from orchestrator.dispatcher.leader import Leadership
from orchestrator.dispatcher.turn import take_turn
from orchestrator.errors import BadSpec
from orchestrator.jobs import lifecycle
from orchestrator.model.demand import Demand
from orchestrator.model.states import ServiceState
from orchestrator.scheduling.explanation import Explanation, explanation
from orchestrator.scheduling.placement.explain import WaitsFor
from orchestrator.storage.tables import Attempt, Job, Lease

HOUR = timedelta(hours=1)
PAIR = "card_group x2"


def _turn(desk: Desk) -> dict[int, list[str]]:
    """Take a turn; the jobs that were placed, and on which slots."""
    bells = take_turn(desk.database, desk.store, lease=LEASE, lost_after=LEASE, aging=HOUR)
    with desk.database.read() as session:
        attempts = [session.get_one(Attempt, bell.attempt_id) for bell in bells]
        assert [bell.queue for bell in bells] == [attempt.slot_ids[0] for attempt in attempts]
        return {attempt.job_id: attempt.slot_ids for attempt in attempts}


def _explained(desk: Desk, job_id: int) -> Explanation:
    with desk.database.read() as session:
        return explanation(session, job_id, now=desk.database.now(session), lost_after=LEASE, aging=HOUR)


def _one_free_one_busy(session, minutes: int = 10):
    """Two groups of one host, of which the second is held by a job of that run limit."""
    a_slot(session, "g0")
    return a_running_attempt(session, a_job(session, run_seconds=minutes * 60), a_slot(session, "g1"))


# ── turns ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_gang_leases_all_its_slots_in_one_turn_and_its_lead_is_rung(desk: Desk):
    with desk.database.write() as session:
        for name in ("g5", "g2", "g3"):
            a_slot(session, name)
        gang = a_job(session, demand="card_group x3")

    placed = _turn(desk)

    assert placed == {gang.id: ["lab1.g2", "lab1.g3", "lab1.g5"]}
    with desk.database.read() as session:
        assert sorted(session.scalars(select(Lease.slot_id))) == ["lab1.g2", "lab1.g3", "lab1.g5"]


def test_while_a_gang_waits_a_job_that_would_delay_it_stays_queued_and_turns_write_nothing(desk: Desk):
    with desk.database.write() as session:
        _one_free_one_busy(session)
        a_job(session, demand=PAIR)
        a_job(session, run_seconds=3600)

    with nothing_written(desk.database):
        assert _turn(desk) == {}


def test_a_short_job_far_behind_long_ones_runs_while_a_gang_waits(desk: Desk):
    with desk.database.write() as session:
        _one_free_one_busy(session)
        a_job(session, demand=PAIR)
        for _ in range(20):
            a_job(session, demand="card_group <4096", run_seconds=3600)
        short = a_job(session, demand="card_group <64", run_seconds=60)

    assert _turn(desk) == {short.id: ["lab1.g0"]}


def test_a_gang_starts_when_the_job_it_waited_for_has_ended(desk: Desk):
    with desk.database.write() as session:
        holder = _one_free_one_busy(session)
        gang = a_job(session, demand=PAIR)
        a_job(session, run_seconds=3600)
    before = _turn(desk)

    with desk.database.write() as session:
        finish(session, session.get_one(Attempt, holder.id))

    assert (before, _turn(desk)) == ({}, {gang.id: ["lab1.g0", "lab1.g1"]})


@pytest.mark.parametrize("service", [ServiceState.DRAINED, ServiceState.QUARANTINED])
def test_a_gang_that_no_host_in_service_can_hold_blocks_nobody(desk: Desk, service: ServiceState):
    with desk.database.write() as session:
        a_slot(session, "g0")
        a_slot(session, "g1", service_state=service)
        a_job(session, demand=PAIR, priority=9)
        single = a_job(session)

    assert _turn(desk) == {single.id: ["lab1.g0"]}


def test_a_gang_is_tried_again_on_another_host_than_the_one_where_it_failed(desk: Desk):
    with desk.database.write() as session:
        for host in ("lab1", "lab2"):
            a_slot(session, "g0", host=host)
            a_slot(session, "g1", host=host)
        gang = a_job(session, demand=PAIR)
    first = _turn(desk)
    with desk.database.write() as session:
        attempt = session.scalars(select(Attempt)).one()
        claim(session, attempt)
        lifecycle.lose(session, attempt.id, now=now(), why="its worker vanished", max_attempts=3)

    second = _turn(desk)

    assert first == {gang.id: ["lab1.g0", "lab1.g1"]}
    assert second == {gang.id: ["lab2.g0", "lab2.g1"]}


def test_as_many_jobs_of_one_group_are_placed_as_come_first_however_many_groups_there_are(desk: Desk):
    with desk.database.write() as session:
        for index in range(8):
            a_slot(session, f"g{index}")
        for number in range(20):
            a_job(session, project=f"p{number}", priority=1)
        urgent = {a_job(session, priority=9).id for _ in range(8)}

    assert _turn(desk).keys() == urgent


def test_a_job_that_would_end_in_time_is_found_behind_those_of_its_group_that_would_not(desk: Desk):
    with desk.database.write() as session:
        for name in ("g0", "g2", "g3", "g4", "g5", "g6"):
            a_slot(session, name)
        a_running_attempt(session, a_job(session, run_seconds=600), a_slot(session, "g1"))
        a_job(session, demand="card_group x7")
        for _ in range(5):
            a_job(session, demand="card_group <1024", run_seconds=900)
        short = a_job(session, demand="card_group <1024", run_seconds=550)
        for number in range(9):
            a_job(session, project=f"p{number}", priority=1, run_seconds=3600)

    assert _turn(desk).keys() == {short.id}


def test_a_job_that_is_given_another_priority_while_the_queue_is_read_is_placed_once(desk: Desk):
    if desk.database.is_sqlite:
        pytest.skip("a transaction of SQLite sees one state, whatever is committed meanwhile")
    with desk.database.write() as session:
        for index in range(3):
            a_slot(session, f"g{index}")
        moved, other = a_job(session, priority=5).id, a_job(session, priority=9).id

    reads = []

    def move(_connection, _cursor, statement, *_: object) -> None:
        if "ORDER BY job.rank" not in statement:
            return
        reads.append(statement)
        if len(reads) == 1:
            with desk.database.write() as meanwhile:
                meanwhile.execute(update(Job).where(Job.id == moved).values(priority=9))

    event.listen(desk.database.engine, "after_cursor_execute", move)

    assert _turn(desk).keys() == {moved, other}
    assert len(reads) > 1


# ── explanations ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("minutes", [1, 600])
@pytest.mark.parametrize("demand", ["card_group", PAIR, "card_group x3", "card_group g0 g1"])
@pytest.mark.parametrize("rival", [None, PAIR])
def test_a_turn_places_a_job_exactly_when_its_explanation_is_empty(desk: Desk, minutes, demand, rival):
    assert Leadership(desk.database, "test", LEASE).acquire()
    with desk.database.write() as session:
        _one_free_one_busy(session)
        if rival:
            a_job(session, demand=rival)
        job = a_job(session, demand=demand, run_seconds=60 * minutes)

    waits = _explained(desk, job.id).reasons

    assert (job.id in _turn(desk)) == (not waits)


def test_a_job_behind_a_gang_is_told_for_which_job_and_until_when_a_slot_is_kept(desk: Desk):
    assert Leadership(desk.database, "test", LEASE).acquire()
    with desk.database.write() as session:
        holder = _one_free_one_busy(session)
        gang = a_job(session, demand=PAIR)
        mine = a_job(session, run_seconds=3600)
    ends = holder.started_at + timedelta(minutes=10)

    of_gang, of_mine = _explained(desk, gang.id), _explained(desk, mine.id)

    (gathering,) = [each for each in of_gang.reasons if each.kind is WaitsFor.GATHERING]
    (kept,) = [each for each in of_mine.reasons if each.kind is WaitsFor.KEPT_FOR_GANG]
    assert (gathering.host, gathering.count, gathering.until) == ("lab1", 1, ends)
    assert (kept.job_id, kept.slot_id, kept.until) == (gang.id, "lab1.g0", ends)
    assert of_gang.earliest_start == ends


def test_jobs_that_differ_in_their_run_limit_alone_stand_in_one_line(desk: Desk):
    assert Leadership(desk.database, "test", LEASE).acquire()
    with desk.database.write() as session:
        a_running_attempt(session, slot=a_slot(session))
        for limit in (64, 4096):
            a_job(session, demand=f"card_group <{limit}", run_seconds=limit)
        mine = a_job(session, demand="card_group <1024", run_seconds=1000)

    (behind,) = [each for each in _explained(desk, mine.id).reasons if each.kind is WaitsFor.BEHIND_IN_QUEUE]

    assert behind.count == 2


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("asked", "facts", "key"),
    [
        ({}, {}, "card_group"),
        ({"groups": 2}, {}, "card_group x2"),
        ({"cards": "0..3,8..11"}, {}, "card_group g0 g2"),
        ({"cards": "0..31"}, {}, "card_group x8"),
        ({"cards": "0"}, {}, "card_group g0"),
        ({"groups": 2}, {"placement": {"labels": {"host": "lab1"}}}, "card_group x2 host=lab1"),
        ({}, {"placement": {"slot": "lab1.g1"}}, "card_group lab1.g1"),
    ],
)
def test_a_request_asks_for_its_slots_and_says_how_long_it_may_run(desk: Desk, asked, facts, key):
    with desk.database.write() as session:
        for index in range(8):
            a_slot(session, f"g{index}", heartbeat_at=None)

    job_id = desk.submit(desk.infer(**asked), **facts, limits={"run_seconds": 100})

    with desk.database.read() as session:
        asked_for = Demand.parse(session.get_one(Job, job_id).demand)
    assert asked_for == replace(Demand.parse(key), limit=128, release="r1")


@pytest.mark.parametrize(
    ("asked", "placement", "field", "there"),
    [
        ({"groups": 3}, {}, "spec.groups", "lab1 with 2, lab2 with 1"),
        ({"cards": "0..3,28..31"}, {}, "spec.cards", "lab1 with 2"),
        ({"groups": 2}, {"labels": {"host": "lab2"}}, "placement.labels", "host=lab1"),
        ({"groups": 2}, {"exclude": ["lab1.g0"]}, "placement.exclude", "lab1.g0"),
    ],
)
def test_a_gang_that_no_registered_host_can_hold_is_refused_with_what_is_there(
    desk: Desk, asked, placement, field, there
):
    with desk.database.write() as session:
        for host, name in (("lab1", "g0"), ("lab1", "g1"), ("lab2", "g0")):
            a_slot(session, name, host=host, heartbeat_at=now())

    with pytest.raises(BadSpec) as refused:
        desk.submission.job(request_of(desk.infer(**asked), placement=placement))

    assert refused.value.field == field
    assert there in refused.value.detail
    waiting = request_of(desk.infer(**asked), placement={**placement, "wait_for_slot": True})
    assert desk.submission.job(waiting).jobs
