"""Shares, heads of the queue, selectors and explanations as they are in SQL, on both databases."""

from datetime import timedelta

import pytest
from builders.desk import Desk, quantize, request_of
from builders.lifecycle import (
    LEASE,
    TOOL,
    a_job,
    a_running_attempt,
    a_slot,
    an_infer_request,
    ending,
    finish,
    now,
    owner_of,
)
from sqlalchemy import select, text, update

from orchestrator.dispatcher.leader import Leadership
from orchestrator.dispatcher.turn import take_turn
from orchestrator.errors import BadSpec
from orchestrator.jobs import lifecycle, orders, shares
from orchestrator.model.orders import Action, Order
from orchestrator.model.states import JobState, ServiceState
from orchestrator.scheduling import queue
from orchestrator.scheduling.explanation import Explanation, PastKind, explanation
from orchestrator.scheduling.placement.explain import WaitsFor
from orchestrator.scheduling.queue import QueueClass
from orchestrator.slots import queries as slot_queries
from orchestrator.slots import service
from orchestrator.storage.tables import Attempt, Job, JobInput, Lease, Project, Slot

HOUR = timedelta(hours=1)
RACK_A = {"placement": {"labels": {"rack": "a"}}}


def _turn(desk: Desk) -> set[int]:
    """Take a turn; the jobs that were placed."""
    bells = take_turn(desk.database, desk.store, lease=LEASE, lost_after=LEASE, aging=HOUR)
    with desk.database.read() as session:
        return {session.get_one(Attempt, bell.attempt_id).job_id for bell in bells}


def _explained(desk: Desk, job_id: int) -> Explanation:
    with desk.database.read() as session:
        return explanation(session, job_id, now=desk.database.now(session), lost_after=LEASE, aging=HOUR)


def _kinds(desk: Desk, job_id: int) -> list[WaitsFor]:
    return [reason.kind for reason in _explained(desk, job_id).reasons]


def _lead(desk: Desk) -> None:
    assert Leadership(desk.database, "test", timedelta(seconds=10)).acquire()


# ── shares ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_ended_attempt_is_charged_to_its_project_and_one_under_way_counts_as_it_goes(desk: Desk):
    with desk.database.write() as session:
        ended = a_running_attempt(session, a_job(session, project="a"))
        under_way = a_running_attempt(session, a_job(session, project="b"))
        session.execute(update(Attempt).where(Attempt.id.in_([ended.id, under_way.id])).values(started_at=now() - HOUR))
        finish(session, ended)

    with desk.database.read() as session:
        had = shares.all_shares(session, desk.database.now(session))
        stored = session.get_one(Project, "b").used_seconds

    assert had["a"].used == pytest.approx(3600, abs=30)
    assert had["b"].used == pytest.approx(3600, abs=30)
    assert stored == 0


def test_attempts_of_one_project_store_their_results_beside_each_other(desk: Desk):
    if desk.database.is_sqlite:
        pytest.skip("writers queue on SQLite: no two store anything at once")
    with desk.database.write() as session:
        first, second = (a_running_attempt(session, a_job(session, project="a")) for _ in range(2))

    def end_the_other() -> None:
        with desk.database.write() as other:
            other.execute(text("SET LOCAL lock_timeout = '5s'"))
            finish(other, second)

    with desk.database.write() as session:
        lifecycle.finish(
            session,
            first.id,
            ending(),
            owner=owner_of(session, first.id),
            now=now(),
            max_attempts=3,
            store_results=end_the_other,
        )

    with desk.database.read() as session:
        assert set(session.scalars(select(Job.state))) == {JobState.SUCCEEDED}


def test_what_was_used_fades_with_the_half_life_that_the_dispatcher_sets(desk: Desk):
    with desk.database.write() as session:
        a_job(session, project="a")
        session.execute(update(Project).values(used_seconds=800.0, used_at=now() - HOUR, half_life_seconds=3600.0))

    shares.set_half_life(desk.database, HOUR * 24)

    with desk.database.read() as session:
        row = session.get_one(Project, "a")
        assert row.used_seconds == pytest.approx(400, abs=5)
        assert row.half_life_seconds == 24 * 3600
        assert shares.used_now(row, row.used_at + HOUR * 24) == pytest.approx(row.used_seconds / 2)


def test_the_project_that_has_had_least_for_its_weight_gets_the_slot(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        greedy, modest = a_job(session, project="greedy"), a_job(session, project="modest")
        at = now()
        shares.set_weight(session, "greedy", 2.0, now=at)
        session.execute(update(Project).where(Project.name == "greedy").values(used_seconds=5000.0, used_at=at))
        session.execute(update(Project).where(Project.name == "modest").values(used_seconds=2000.0, used_at=at))

    assert _turn(desk) == {modest.id}
    assert desk.states(greedy.id) == [JobState.QUEUED]


def test_a_job_that_has_waited_long_comes_before_one_that_was_more_urgent(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        patient, urgent = a_job(session, priority=2), a_job(session, priority=6)
        session.execute(update(Job).where(Job.id == patient.id).values(created_at=now() - HOUR * 5))

    assert _turn(desk) == {patient.id}
    assert desk.states(urgent.id) == [JobState.QUEUED]


# ── the queue and the slots ──────────────────────────────────────────────────────────────────────────────────────────


def test_every_group_of_the_queue_is_found_once_and_nothing_else(desk: Desk):
    expected = set()
    with desk.database.write() as session:
        for demand in ("card_group", "card_group g1", "cpu"):
            for project in ("a", "b"):
                for priority in (0, 5, 9):
                    expected.add(QueueClass(demand, project, priority))
                    for _ in range(2):
                        a_job(session, demand=demand, project=project, priority=priority)
        a_job(session, JobState.RUNNING, demand="cpu", project="gone")

    with desk.database.read() as session:
        found = queue.classes(session)

    assert len(found) == len(set(found))
    assert set(found) == expected


def test_an_empty_queue_has_no_groups(desk: Desk):
    with desk.database.read() as session:
        assert queue.classes(session) == []


def test_a_job_goes_to_the_slot_that_ran_its_kernel_image_last(desk: Desk):
    digest = f"sha256:{'d' * 64}"
    with desk.database.write() as session:
        a_slot(session, "g0")
        a_slot(session, "g1", last_ended_at=now(), kcore=digest)
        job = a_job(session)
        session.add(JobInput(job_id=job.id, name="kcore", digest=digest))

    _turn(desk)

    with desk.database.read() as session:
        assert session.scalars(select(Attempt.slot_id)).all() == ["lab1.g1"]
    (past,) = _explained(desk, job.id).past
    assert (past.about, past.why) == (PastKind.PLACED, "the kernel image that was placed on this slot last is the same")


def test_a_slot_remembers_the_kernel_image_that_was_placed_on_it(desk: Desk):
    digest = f"sha256:{'d' * 64}"
    with desk.database.write() as session:
        a_slot(session, "g0")
        session.add(JobInput(job_id=a_job(session).id, name="kcore", digest=digest))

    _turn(desk)

    with desk.database.read() as session:
        assert session.get_one(Slot, "lab1.g0").kcore == digest


def test_a_job_runs_only_on_hosts_with_its_labels(desk: Desk):
    with desk.database.write() as session:
        a_slot(session, "g0", host="other", labels={"rack": "b"})
        job = a_job(session, demand="card_group rack=a")
    before = _turn(desk)
    with desk.database.write() as session:
        a_slot(session, "g0", host="right", labels={"rack": "a", "gen": "2"})

    assert (before, _turn(desk)) == (set(), {job.id})


# ── selectors ────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("placement", "field", "there"),
    [
        ({"slot": "cpu7"}, "placement.slot", "lab1.cpu0"),
        ({"slot": "lab9.cpu0"}, "placement.slot", "lab1.cpu0"),
        ({"labels": {"rack": "z"}}, "placement.labels", "rack=a"),
        ({"exclude": ["cpu0"]}, "placement.exclude", "lab1.cpu0"),
    ],
)
def test_what_no_registered_slot_can_ever_meet_is_refused_with_what_is_there(desk: Desk, placement, field, there):
    with desk.database.write() as session:
        a_slot(session, "cpu0", labels={"rack": "a"}, heartbeat_at=None)

    with pytest.raises(BadSpec) as refused:
        desk.submission.job(request_of(quantize(), placement=placement))

    assert refused.value.field == field
    assert there in refused.value.detail
    assert desk.submission.job(request_of(quantize(), placement={**placement, "wait_for_slot": True})).jobs


def test_a_lab_without_slots_refuses_nothing(desk: Desk):
    assert desk.submission.job(request_of(quantize(), **RACK_A)).jobs


# ── explanations ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("service", ServiceState)
@pytest.mark.parametrize("heard", [now(), now() - LEASE * 2, None], ids=["alive", "silent", "gone"])
@pytest.mark.parametrize("leased", [False, True])
def test_a_turn_places_a_job_exactly_when_its_explanation_is_empty(desk: Desk, service, heard, leased):
    _lead(desk)
    with desk.database.write() as session:
        slot = a_slot(session, service_state=service, heartbeat_at=now() if heard and heard > now() - LEASE else heard)
        if leased:
            a_running_attempt(session, slot=slot)
        job = a_job(session)

    waits = _kinds(desk, job.id)

    assert (_turn(desk) == {job.id}) == (waits == [])


def test_the_number_ahead_is_that_of_older_and_more_urgent_jobs_of_the_class(desk: Desk):
    _lead(desk)
    with desk.database.write() as session:
        a_running_attempt(session, slot=a_slot(session))
        older = a_job(session)
        aged = a_job(session, priority=4, project="other")
        session.execute(update(Job).where(Job.id == aged.id).values(created_at=now() - HOUR * 3))
        mine = a_job(session)
        a_job(session), a_job(session, priority=3), a_job(session, project="other"), a_job(session, demand="cpu")

    (reason,) = [each for each in _explained(desk, mine.id).reasons if each.kind is WaitsFor.BEHIND_IN_QUEUE]

    assert (reason.count, reason.job_id) == (2, aged.id)
    assert older.id < mine.id


def test_a_busy_slot_names_its_job_and_when_it_ends_at_the_latest(desk: Desk):
    _lead(desk)
    with desk.database.write() as session:
        holder = a_running_attempt(session, slot=a_slot(session))
        mine = a_job(session)

    found = _explained(desk, mine.id)

    (reason,) = found.reasons
    latest = holder.started_at + timedelta(seconds=60)
    assert (reason.kind, reason.job_id, reason.slot_id) == (WaitsFor.SLOT_BUSY, holder.job_id, "lab1.g0")
    assert (reason.until, found.earliest_start) == (latest, latest)


def test_a_pinned_job_whose_worker_was_stopped_is_not_said_to_have_found_nothing_else_free(desk: Desk):
    with desk.database.write() as session:
        pinned = a_slot(session, "g0")
        for number in range(1, 8):
            a_slot(session, f"g{number}")
        job = a_job(session, demand="card_group g0")
        attempt = a_running_attempt(session, job, pinned)
        owner = owner_of(session, attempt.id)
        assert lifecycle.give_back(session, attempt.id, owner=owner, now=now(), why="its worker was stopped")

    _turn(desk)

    told = [past.why for past in _explained(desk, job.id).past if past.about is PastKind.PLACED]
    assert told == ["the request names g0, although an earlier attempt here did not succeed"]


def test_what_waits_for_the_same_build_says_in_which_state_that_is(desk: Desk):
    with desk.database.write() as session:
        first = a_job(session, JobState.QUEUED)
        second = a_job(session, JobState.WAITING, joined_to=first.id)

    (detail,) = [each.detail for each in _explained(desk, second.id).reasons if each.job_id == first.id]

    assert detail == f"job {first.id}, queued, is the same build; its result is taken if it succeeds"


def test_an_assigned_job_that_has_not_started_has_no_end_yet(desk: Desk):
    _lead(desk)
    with desk.database.write() as session:
        a_slot(session)
        other = a_job(session)
    assert _turn(desk) == {other.id}
    with desk.database.write() as session:
        mine = a_job(session)

    (reason,) = _explained(desk, mine.id).reasons

    assert (reason.detail, reason.until) == (f"job {other.id} is assigned to lab1.g0 and has not started", None)


def test_a_slot_that_a_person_quarantined_is_not_said_to_wait_for_a_canary(desk: Desk):
    _lead(desk)
    with desk.database.admission() as (session, at):
        slot = a_slot(session)
        service.quarantine(session, slot.id, by="ann", note="odd noise", now=at)
        mine = a_job(session)

    (reason,) = _explained(desk, mine.id).reasons

    assert reason.detail == "lab1.g0 is quarantined (odd noise); returns to service when a person resumes it"


def test_the_forecast_knows_how_long_such_jobs_took(desk: Desk):
    _lead(desk)
    with desk.database.write() as session:
        a_job(session, JobState.SUCCEEDED)
        holder = a_running_attempt(session, slot=a_slot(session))
        mine = a_job(session, demand="card_group lab1.g0")

    assert _explained(desk, mine.id).earliest_start == holder.started_at + timedelta(seconds=1.5)


def test_without_a_dispatcher_nothing_is_placed_and_that_is_told(desk: Desk):
    with desk.database.write() as session:
        a_slot(session)
        job = a_job(session)

    found = _explained(desk, job.id)

    assert [reason.kind for reason in found.reasons] == [WaitsFor.DISPATCHER_AWAY]
    assert found.earliest_start is None


def test_why_a_job_was_tried_again_and_why_the_cache_was_missed_are_kept(desk: Desk):
    job_id = desk.submit(quantize(), tool_retries=1)
    desk.end(job_id, TOOL)

    told = [past.about for past in _explained(desk, job_id).past]

    assert told == [PastKind.CACHE_MISSED, PastKind.RETRIED]


def test_a_job_that_runs_or_has_ended_waits_for_nothing(desk: Desk):
    with desk.database.write() as session:
        jobs = [a_job(session, state) for state in (JobState.RUNNING, JobState.SUCCEEDED, JobState.FAILED)]

    assert [_kinds(desk, job.id) for job in jobs] == [[], [], []]


def test_an_assigned_job_waits_to_be_claimed(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session, JobState.ASSIGNED, request=an_infer_request())
        assert session.scalars(select(Lease.slot_id)).all()

    assert _kinds(desk, job.id) == [WaitsFor.ASSIGNED_NOT_CLAIMED]


def test_a_living_worker_that_was_rung_again_and_heard_nothing_is_told(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session, JobState.ASSIGNED, request=an_infer_request())
        attempt = session.scalars(select(Attempt).where(Attempt.job_id == job.id)).one()
        first = slot_queries.bells_unheard(session, desk.database.now(session), desk.settings.lease)
        attempt.rung_at = attempt.assigned_at + timedelta(seconds=10)
        session.flush()
        again = slot_queries.bells_unheard(session, desk.database.now(session), desk.settings.lease)

    assert (first, again) == (0, 1)
    assert _kinds(desk, job.id) == [WaitsFor.ASSIGNED_NOT_CLAIMED, WaitsFor.BELL_NOT_HEARD]


# ── what people order ────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_held_job_says_who_holds_it_and_why_and_is_ahead_of_nobody(desk: Desk):
    _lead(desk)
    with desk.database.write() as session:
        a_running_attempt(session, a_job(session))
        held, other = a_job(session), a_job(session)
        orders.carry_out(session, held.id, Order(Action.HOLD, "alice", "new driver"), now=now())

    [hold, *_] = _explained(desk, held.id).reasons

    assert hold.kind is WaitsFor.HELD
    assert "alice" in hold.detail
    assert "new driver" in hold.detail
    assert WaitsFor.BEHIND_IN_QUEUE not in _kinds(desk, other.id)


def test_a_job_moved_to_the_front_goes_before_all_of_its_priority_whatever_their_age_and_share(desk: Desk):
    _lead(desk)
    with desk.database.write() as session:
        a_slot(session)
        aged = a_job(session, project="thrifty")
        aged.created_at = now() - 2 * HOUR
        lavish = a_job(session, project="lavish")
        moved = a_job(session, project="lavish")
        shares.charge(session, lavish.id, 3600, now=now())
        orders.carry_out(session, moved.id, Order(Action.FRONT, "alice"), now=now())

    told = [reason for reason in _explained(desk, aged.id).reasons if reason.kind is WaitsFor.BEHIND_IN_QUEUE]

    assert [(reason.job_id, reason.count) for reason in told] == [(moved.id, 1)]
    assert _explained(desk, moved.id).reasons == []
    assert _turn(desk) == {moved.id}
