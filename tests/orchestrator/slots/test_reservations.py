"""Reservations as they are in SQL, on both databases: kept, refused, cancelled, begun and ended."""

from datetime import datetime, timedelta, timezone

import pytest
from builders.databases import at_once, nothing_written
from builders.desk import Desk
from builders.lifecycle import LEASE, a_job, a_running_attempt, a_slot, an_assigned_attempt, an_infer_request, now
from pydantic import ValidationError
from sqlalchemy import select, update

from orchestrator.dispatcher import sweeps
from orchestrator.dispatcher.leader import Leadership
from orchestrator.dispatcher.turn import take_turn
from orchestrator.errors import AlreadyReserved, BadRequest, IllegalTransition, NotFound
from orchestrator.model.reservations import ReservationRequest, ReservationState
from orchestrator.model.states import JobState
from orchestrator.scheduling.explanation import explanation
from orchestrator.scheduling.placement.explain import WaitsFor
from orchestrator.slots import reservations
from orchestrator.slots.reservations import ReservationFacts
from orchestrator.storage.tables import Event, Job, Reservation, Slot

HOUR = timedelta(hours=1)
SHANGHAI = timezone(timedelta(hours=8))


@pytest.fixture
def desk(desk: Desk, database) -> Desk:
    with database.write() as session:
        a_slot(session, "g0")
        a_slot(session, "g1")
        a_slot(session, "g0", host="lab2")
    return desk


def _reserve(desk: Desk, *slots: str, by: str = "ann", **facts) -> ReservationFacts:
    said = {"slots": slots, **facts}
    if "ends_at" not in said:
        said.setdefault("seconds", 3600)
    with desk.database.admission() as (session, moment):
        return reservations.reserve(session, ReservationRequest.model_validate(said), by=by, now=moment)


def _cancel(desk: Desk, number: int, **facts) -> ReservationFacts:
    with desk.database.admission() as (session, moment):
        return reservations.cancel(session, number, by="bob", now=moment, **facts)


def _seen(desk: Desk, number: int) -> ReservationFacts:
    with desk.database.read() as session:
        return reservations.reservation(session, number, desk.database.now(session))


def _windows(desk: Desk) -> dict[str, list[int]]:
    with desk.database.read() as session:
        found = reservations.windows(session, desk.database.now(session))
    return {slot: [window.reservation_id for window in times] for slot, times in found.items()}


def _pass(desk: Desk, number: int, by: timedelta) -> None:
    """Let so much time pass for one reservation."""
    with desk.database.write() as session:
        row = session.get_one(Reservation, number)
        row.starts_at, row.ends_at = row.starts_at - by, row.ends_at - by


def _events(desk: Desk) -> list[tuple[str, str]]:
    with desk.database.read() as session:
        rows = session.scalars(select(Event).where(Event.kind.startswith("reservation.")).order_by(Event.id))
        return [(row.kind.removeprefix("reservation."), row.data["by"]) for row in rows]


def _turn(desk: Desk) -> list[str]:
    """Take a turn; the slots that were given away."""
    return [bell.queue for bell in take_turn(desk.database, desk.store, lease=LEASE, lost_after=LEASE)]


# ── reserving ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_slots_are_kept_from_now_on_and_it_is_told_who_has_them_and_why(desk: Desk):
    made = _reserve(desk, "lab1.g1", "lab1.g0", "lab1.g1", note="换卡", project="bringup")

    assert (made.state, made.slots) == (ReservationState.CURRENT, ["lab1.g0", "lab1.g1"])
    assert made.reservation.ends_at - made.reservation.starts_at == HOUR
    with desk.database.read() as session:
        (window,) = reservations.windows(session, desk.database.now(session))["lab1.g0"]
    assert (window.by, window.note, window.project) == ("ann", "换卡", "bringup")
    assert _windows(desk) == {"lab1.g0": [made.reservation.id], "lab1.g1": [made.reservation.id]}
    assert _events(desk) == [("created", "ann"), ("began", "ann")]


def test_a_host_means_the_slots_that_it_has_at_that_moment(desk: Desk):
    made = _reserve(desk, hosts=["lab1"])
    with desk.database.write() as session:
        a_slot(session, "g2")

    assert made.slots == ["lab1.g0", "lab1.g1"]
    assert "lab1.g2" not in _windows(desk)


def test_a_time_in_another_zone_is_the_same_moment(desk: Desk):
    start = (now() + HOUR).astimezone(SHANGHAI)

    made = _reserve(desk, "lab1.g0", starts_at=start.isoformat(), ends_at=(start + HOUR).isoformat())

    assert made.state is ReservationState.COMING
    assert (made.reservation.starts_at, made.reservation.ends_at) == (start, start + HOUR)


@pytest.mark.parametrize(
    ("facts", "field", "told"),
    [
        ({"starts_at": now() - HOUR}, "starts_at", "in the past"),
        ({"ends_at": now() - HOUR}, "ends_at", "in the past"),
        ({"starts_at": now() + HOUR * 2, "ends_at": now() + HOUR}, "ends_at", "before it starts"),
        ({"ends_at": now() + timedelta(days=31)}, "ends_at", "30 days"),
        ({"starts_at": now() + timedelta(days=400)}, "starts_at", "366 days"),
        ({"starts_at": "9999-12-31T23:59:59-14:00"}, "starts_at", "366 days"),
        ({"ends_at": "9999-12-31T23:59:59-14:00"}, "ends_at", "30 days"),
        ({"starts_at": "0001-01-01T00:00:00+14:00"}, "starts_at", "in the past"),
    ],
)
def test_times_that_make_no_sense_are_refused_with_their_field(desk: Desk, facts, field, told):
    with nothing_written(desk.database), pytest.raises(BadRequest, match=told) as refused:
        _reserve(desk, "lab1.g0", **facts)

    assert refused.value.field == field


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"slots": ["lab1.g0"]}, "either ends_at or seconds"),
        ({"slots": ["lab1.g0"], "seconds": 60, "ends_at": "2030-01-01T00:00:00Z"}, "either ends_at or seconds"),
        ({"seconds": 60}, "name the slots"),
        ({"slots": ["lab1.g0"], "ends_at": "2030-01-01T00:00:00"}, "zone is missing"),
        ({"slots": ["lab1.g0"], "ends_at": 1893456000}, "not a date and time"),
        ({"slots": ["lab1.g0"], "ends_at": "1893456000"}, "not a date and time"),
        ({"slots": ["lab1.g0"], "ends_at": "tomorrow"}, "not a date and time"),
        ({"slots": ["lab1.g0"], "seconds": 0}, "greater than or equal to 1"),
        ({"slots": ["lab1.g0"], "seconds": 31 * 86400}, "less than or equal to 2592000"),
        ({"slots": ["../g0"], "seconds": 60}, "pattern"),
        ({"slots": ["lab1.g0"], "seconds": 60, "by": "root"}, "Extra inputs"),
        ({"slots": ["lab1.g0"], "seconds": 60, "project": "--all"}, "pattern"),
    ],
)
def test_a_request_that_can_not_be_meant_is_refused(facts, told):
    with pytest.raises(ValidationError, match=told):
        ReservationRequest.model_validate(facts)


@pytest.mark.parametrize(
    ("facts", "field"), [({"slots": ["lab1.g0", "lab1.g7"]}, "slots"), ({"hosts": ["lab1", "lab9"]}, "hosts")]
)
def test_a_slot_or_host_that_is_not_there_is_named(desk: Desk, facts, field):
    with nothing_written(desk.database), pytest.raises(NotFound, match=facts[field][1]) as refused:
        _reserve(desk, **facts)

    assert refused.value.field == field


def test_a_slot_is_reserved_once_at_a_time_and_a_refusal_names_who_has_it(desk: Desk):
    first = _reserve(desk, "lab1.g0", note="新散热器", starts_at=now() + HOUR)

    with nothing_written(desk.database), pytest.raises(AlreadyReserved) as refused:
        _reserve(desk, hosts=["lab1"], by="bob", seconds=7200)

    assert refused.value.facts["reservations"] == [first.reservation.id]
    for part in ("lab1.g0", "ann", "新散热器", f"{first.reservation.starts_at:%H:%M:%S}"):
        assert part in refused.value.detail


def test_reservations_may_follow_each_other_without_a_gap(desk: Desk):
    first = _reserve(desk, "lab1.g0")

    second = _reserve(desk, "lab1.g0", starts_at=first.reservation.ends_at)

    assert _windows(desk)["lab1.g0"] == [first.reservation.id, second.reservation.id]


def test_of_two_who_reserve_a_slot_at_once_one_gets_it(desk: Desk):
    def attempt() -> str:
        try:
            _reserve(desk, "lab1.g1", "lab1.g0")
        except AlreadyReserved:
            return "refused"
        return "kept"

    assert sorted(at_once(attempt, attempt, attempt)) == ["kept", "refused", "refused"]
    assert len(_windows(desk)["lab1.g0"]) == 1


# ── what runs there ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_what_runs_goes_on_and_is_told_with_the_moment_when_it_must_end(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session, run_seconds=7200, name="long")
        attempt = a_running_attempt(session, job, session.get_one(Slot, "lab1.g0"))

    reached = _reserve(desk, "lab1.g0", "lab1.g1", starts_at=now() + HOUR)
    (reaching,) = reached.reaching

    assert (reaching.job_id, reaching.slot_id, reaching.name) == (job.id, "lab1.g0", "long")
    assert reaching.until == attempt.started_at + timedelta(seconds=7200)
    assert desk.states(job.id) == [JobState.RUNNING]


def test_a_job_that_must_have_ended_before_is_not_told_nor_one_of_the_project(desk: Desk):
    with desk.database.write() as session:
        slots = [session.get_one(Slot, slot) for slot in ("lab1.g0", "lab1.g1")]
        a_running_attempt(session, a_job(session, run_seconds=60), slots[0])
        a_running_attempt(session, a_job(session, run_seconds=7200, project="bringup"), slots[1])

    made = _reserve(desk, hosts=["lab1"], starts_at=now() + HOUR, project="bringup")

    assert made.reaching == []


def test_what_has_not_begun_is_taken_back_and_its_job_is_queued_again(desk: Desk):
    with desk.database.write() as session:
        slots = [session.get_one(Slot, slot) for slot in ("lab1.g0", "lab1.g1")]
        theirs = a_job(session)
        mine = a_job(session, project="bringup")
        an_assigned_attempt(session, theirs, slots[0])
        an_assigned_attempt(session, mine, slots[1])

    made = _reserve(desk, hosts=["lab1"], project="bringup")

    assert desk.states(theirs.id, mine.id) == [JobState.QUEUED, JobState.ASSIGNED]
    assert f"reservation {made.reservation.id} of ann" in desk.why(theirs.id)
    assert made.reaching == []


def test_a_slot_inside_a_foreign_reservation_takes_no_new_job_until_it_is_over(desk: Desk):
    with desk.database.write() as session:
        session.execute(update(Slot).where(Slot.id == "lab2.g0").values(heartbeat_at=None))
        for _ in range(2):
            a_job(session)
    made = _reserve(desk, "lab1.g0", project="bringup")

    during = _turn(desk)
    _cancel(desk, made.reservation.id)
    after = _turn(desk)

    assert (during, after) == (["lab1.g1"], ["lab1.g0"])


def test_inside_a_reservation_the_jobs_of_its_project_run(desk: Desk):
    with desk.database.write() as session:
        session.execute(update(Slot).where(Slot.id != "lab1.g0").values(heartbeat_at=None))
        theirs, mine = a_job(session, priority=9), a_job(session, project="bringup")
    _reserve(desk, "lab1.g0", project="bringup")

    given = _turn(desk)

    assert given == ["lab1.g0"]
    assert desk.states(theirs.id, mine.id) == [JobState.QUEUED, JobState.ASSIGNED]


def test_before_a_reservation_only_jobs_start_that_must_have_ended_by_then(desk: Desk):
    with desk.database.write() as session:
        session.execute(update(Slot).where(Slot.id != "lab1.g0").values(heartbeat_at=None))
        long, short = a_job(session, run_seconds=7200, priority=9), a_job(session, run_seconds=60)
    _reserve(desk, "lab1.g0", starts_at=now() + HOUR)

    given = _turn(desk)

    assert given == ["lab1.g0"]
    assert desk.states(long.id, short.id) == [JobState.QUEUED, JobState.ASSIGNED]


def test_a_job_that_a_reservation_keeps_waiting_is_told_whose_it_is_and_until_when(desk: Desk):
    with desk.database.write() as session:
        session.execute(update(Slot).where(Slot.id != "lab1.g0").values(heartbeat_at=None))
        job = a_job(session, demand="card_group g0", run_seconds=7200)
    assert Leadership(desk.database, "test", HOUR).acquire()
    made = _reserve(desk, "lab1.g0", starts_at=now() + HOUR, note="换散热器")

    with desk.database.read() as session:
        moment = desk.database.now(session)
        found = explanation(session, job.id, now=moment, lost_after=LEASE, aging=HOUR)

    (reason,) = [reason for reason in found.reasons if reason.kind is WaitsFor.RESERVED]
    assert (reason.slot_id, reason.until) == ("lab1.g0", made.reservation.ends_at)
    assert "ann" in reason.detail
    assert "换散热器" in reason.detail
    assert found.earliest_start == made.reservation.ends_at


# ── giving back, and the passing of time ─────────────────────────────────────────────────────────────────────────────


def test_a_cancelled_reservation_is_over_at_once_and_says_by_whom(desk: Desk):
    made = _reserve(desk, "lab1.g0")

    ended = _cancel(desk, made.reservation.id, note="done early")
    again = _cancel(desk, made.reservation.id)

    assert ended.state is again.state is ReservationState.CANCELLED
    assert (again.reservation.cancelled or {})["by"] == "bob"
    assert _windows(desk) == {}
    assert _events(desk) == [("created", "ann"), ("began", "ann"), ("cancelled", "bob")]
    assert _reserve(desk, "lab1.g0").state is ReservationState.CURRENT


def test_one_that_has_ended_or_is_not_there_can_not_be_cancelled(desk: Desk):
    made = _reserve(desk, "lab1.g0")
    _pass(desk, made.reservation.id, HOUR)

    with pytest.raises(IllegalTransition, match="has already ended"):
        _cancel(desk, made.reservation.id)
    with pytest.raises(NotFound, match="4711"):
        _cancel(desk, 4711)


def test_time_alone_ends_a_reservation_even_while_no_dispatcher_runs(desk: Desk):
    made = _reserve(desk, "lab1.g0")

    _pass(desk, made.reservation.id, HOUR)

    assert _windows(desk) == {}
    assert _seen(desk, made.reservation.id).state is ReservationState.ENDED


def test_beginning_and_end_are_told_once_each(desk: Desk):
    made = _reserve(desk, "lab1.g0", starts_at=now() + HOUR)
    told = []
    for _ in range(3):
        for _ in range(2):
            sweeps.note_reservations(desk.database)
        told.append([what for what, _ in _events(desk)])
        _pass(desk, made.reservation.id, HOUR)

    assert told == [["created"], ["created", "began"], ["created", "began", "ended"]]


def test_a_reservation_that_began_and_ended_while_nobody_looked_is_told_in_order(desk: Desk):
    made = _reserve(desk, "lab1.g0", starts_at=now() + HOUR)
    _pass(desk, made.reservation.id, HOUR * 3)

    sweeps.note_reservations(desk.database)

    assert [what for what, _ in _events(desk)] == ["created", "began", "ended"]
    with nothing_written(desk.database):
        sweeps.note_reservations(desk.database)


def test_what_was_assigned_before_and_has_not_begun_is_taken_back_at_the_beginning(desk: Desk):
    made = _reserve(desk, "lab1.g0", starts_at=now() + HOUR)
    with desk.database.write() as session:
        job = a_job(session, request=an_infer_request())
        an_assigned_attempt(session, job, session.get_one(Slot, "lab1.g0"))
    _pass(desk, made.reservation.id, HOUR)

    sweeps.note_reservations(desk.database)

    assert desk.states(job.id) == [JobState.QUEUED]


def test_lists_show_what_is_and_will_be_and_the_past_on_request(desk: Desk):
    over, current = _reserve(desk, "lab1.g0"), _reserve(desk, "lab1.g1")
    coming = _reserve(desk, "lab1.g1", starts_at=current.reservation.ends_at)
    _pass(desk, over.reservation.id, HOUR)
    numbers = [each.reservation.id for each in (coming, current, over)]

    def listed(**facts) -> list[int]:
        with desk.database.read() as session:
            found = reservations.reservations(session, desk.database.now(session), **{"limit": 9, **facts})
        return [each.reservation.id for each in found]

    assert listed() == numbers[:2]
    assert listed(past=True) == numbers
    assert listed(past=True, slot="lab1.g0") == numbers[2:]
    assert listed(past=True, before=numbers[0], limit=1) == numbers[1:2]


def test_a_moment_of_a_stored_reservation_is_aware_on_both_databases(desk: Desk):
    made = _reserve(desk, "lab1.g0")

    found = _seen(desk, made.reservation.id).reservation

    assert isinstance(found.starts_at, datetime)
    assert found.starts_at.utcoffset() == timedelta(0)
    assert found.began_at == found.starts_at == found.created_at
    with desk.database.read() as session:
        assert session.scalars(select(Job)).all() == []
