"""Whose a slot is, and whether it is given work, on both databases."""

from datetime import timedelta

import pytest
from builders.databases import at_once, nothing_written
from builders.desk import Desk
from builders.lifecycle import (
    FAULT,
    LEASE,
    WORKER,
    a_job,
    a_running_attempt,
    a_slot,
    an_assigned_attempt,
    claim,
    ending,
    events_of,
    finish,
    now,
    owner_of,
)
from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.broker import Bell
from orchestrator.dispatcher.turn import take_turn
from orchestrator.errors import IllegalTransition, NotFound, OwnershipLost, SlotTaken
from orchestrator.jobs import lifecycle
from orchestrator.jobs.lifecycle import Ending
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.scheduling import explanation
from orchestrator.scheduling.placement.explain import WaitsFor
from orchestrator.slots import lacks, presence, service
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Event, Job, Lease, Slot

DEAD = Suspicion(reason="HPGR: device error", signature="hpgr_device_error")


def _turn(desk: Desk) -> list[Bell]:
    return take_turn(desk.database, desk.store, lease=LEASE, lost_after=LEASE)


def _drain(session: Session, slot: str = "lab1.g0", note: str | None = "new cooling") -> None:
    service.drain(session, slot, by="alice", note=note, now=now())


def _quarantine(session: Session, slot: str = "lab1.g0") -> None:
    service.quarantine(session, slot, by="alice", note="answers differ", now=now())


def _resume(session: Session, slot: str = "lab1.g0") -> None:
    service.resume(session, slot, by="bob", note=None, now=now())


def _probed(session: Session, refusal: str | None = None) -> None:
    """What the slot's worker says of its cards to who wants the slot back."""
    service.answer_resume(session, "lab1.g0", worker=WORKER, now=now(), refusal=refusal, evidence={"cards": [0]})


def _slot(database: Database, slot: str = "lab1.g0") -> Slot:
    with database.read() as session:
        return session.get_one(Slot, slot)


def _slot_events(database: Database, slot: str = "lab1.g0") -> list[tuple[str, str | None]]:
    """What happened to a slot, and by whom."""
    with database.read() as session:
        happened = select(Event).where(Event.slot_id == slot, Event.kind.like("slot.%")).order_by(Event.id)
        found = session.scalars(happened)
        return [(event.kind, event.data.get("by")) for event in found.all()]


def _end_badly(session: Session, attempt: Attempt, suspicion: Suspicion = DEAD) -> JobState:
    end = Ending(FAULT, 1.0, None, 0, suspicion)
    return lifecycle.finish(session, attempt.id, end, owner=owner_of(session, attempt.id), now=now(), max_attempts=3)


# ── workers ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def _announce(session: Session, worker: str = WORKER, lock_domain: str = "of lab1") -> list[int]:
    return presence.announce(
        session, host="lab1", name=SlotName.parse("g0"), worker=worker, pid=1, lock_domain=lock_domain, now=now(),
        lost_after=LEASE,
    )  # fmt: skip


def test_a_slot_is_made_at_first_sight_and_announcing_again_is_no_conflict(database: Database):
    with database.write() as session:
        assert _announce(session) == []
        assert _announce(session) == []

        assert session.get_one(Slot, "lab1.g0").worker == WORKER


def test_a_slot_of_a_live_worker_is_refused_to_one_that_cannot_see_its_lock_and_the_owner_is_named(database: Database):
    with database.write() as session:
        _announce(session)

    with nothing_written(database), database.write() as session, pytest.raises(SlotTaken, match=WORKER) as refused:
        _announce(session, "worker-b", "of another machine")

    assert "TX81_HOST" in refused.value.detail


def test_a_slot_goes_at_once_to_a_worker_that_took_the_lock_of_the_one_before(database: Database):
    with database.write() as session:
        _announce(session)

        assert _announce(session, "worker-b") == []


def test_an_attempt_that_is_still_kept_keeps_its_slot_from_another_machine_though_its_worker_went_silent(
    database: Database,
):
    with database.write() as session:
        _announce(session)
        slot = session.get_one(Slot, "lab1.g0")
        a_running_attempt(session, slot=slot)
        slot.heartbeat_at = now() - LEASE * 2

    with nothing_written(database), database.write() as session, pytest.raises(SlotTaken):
        _announce(session, "worker-b", "of another machine")


@pytest.mark.parametrize("how", ["stopped", "went silent"])
def test_a_slot_without_a_live_worker_goes_to_the_next_with_what_was_left_running(database: Database, how: str):
    with database.write() as session:
        _announce(session)
        slot = session.get_one(Slot, "lab1.g0")
        attempt = a_running_attempt(session, slot=slot)
        if how == "stopped":
            presence.leave(session, slot.id, worker=WORKER, now=now())
        else:
            slot.heartbeat_at = now() - LEASE * 2
        session.flush()
        session.expire_all()

        assert _announce(session, "worker-b") == [attempt.id]


def test_an_owner_that_was_replaced_can_neither_beat_nor_leave(database: Database):
    with database.write() as session:
        _announce(session)
        presence.leave(session, "lab1.g0", worker=WORKER, now=now())
        session.expire_all()
        _announce(session, "worker-b")

        with pytest.raises(SlotTaken):
            presence.beat(session, "lab1.g0", worker=WORKER, now=now())
        presence.leave(session, "lab1.g0", worker=WORKER, now=now())

        session.expire_all()
        assert session.get_one(Slot, "lab1.g0").heartbeat_at is not None


# ── people ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_idle_slot_is_drained_at_once_and_says_by_whom_and_why(database: Database):
    with database.write() as session:
        a_slot(session)
        _drain(session)

    slot = _slot(database)
    assert slot.service_state is ServiceState.DRAINED
    assert (slot.service_change["by"], slot.service_change["note"]) == ("alice", "new cooling")
    assert _slot_events(database) == [("slot.drained", "alice")]


@pytest.mark.parametrize("failure", [None, FAULT], ids=["well", "badly"])
def test_a_busy_slot_finishes_what_it_runs_and_is_drained_by_itself(database: Database, failure: Failure | None):
    with database.write() as session:
        attempt = a_running_attempt(session, slot=a_slot(session))
        _drain(session)
        while_it_ran = session.get_one(Slot, "lab1.g0").service_state
        finish(session, attempt, failure)

    assert while_it_ran is ServiceState.DRAINING
    assert _slot(database).service_state is ServiceState.DRAINED
    assert _slot_events(database) == [("slot.draining", "alice"), ("slot.drained", None)]


@pytest.mark.parametrize("how", ["its worker vanished", "its worker was stopped", "it was cancelled"])
def test_however_its_last_attempt_ends_a_draining_slot_is_drained(database: Database, how: str):
    with database.write() as session:
        attempt = a_running_attempt(session, slot=a_slot(session))
        _drain(session)
        match how:
            case "its worker vanished":
                lifecycle.lose(session, attempt.id, now=now(), why=how, max_attempts=3)
            case "its worker was stopped":
                lifecycle.give_back(session, attempt.id, owner=owner_of(session, attempt.id), now=now(), why=how)
            case _:
                finish(session, attempt, Failure(kind=FailureKind.CANCELLED, reason=how))

    assert _slot(database).service_state is ServiceState.DRAINED


@pytest.mark.parametrize("order", [_drain, _quarantine])
def test_what_is_assigned_to_a_slot_and_not_begun_goes_elsewhere_and_is_no_fault(desk: Desk, order):
    with desk.database.write() as session:
        attempt = an_assigned_attempt(session, slot=a_slot(session))
        order(session)
        a_slot(session, "g1")

    (bell,) = _turn(desk)

    assert bell.queue == "lab1.g1"
    with desk.database.read() as session:
        assert session.get_one(Attempt, attempt.id).state is AttemptState.LOST
        assert "fault" not in str([event.data for event in session.scalars(select(Event))])


def test_a_worker_that_hears_the_bell_of_a_drained_slot_finds_nothing(database: Database):
    with database.write() as session:
        attempt = an_assigned_attempt(session, slot=a_slot(session))
        _drain(session)

        assert not claim(session, attempt)


@pytest.mark.parametrize("order", [_drain, _quarantine])
def test_out_of_service_means_no_work_until_it_is_resumed(desk: Desk, order):
    with desk.database.write() as session:
        a_slot(session)
        order(session)
        a_job(session)

    while_out = _turn(desk)
    with desk.database.write() as session:
        _resume(session)
        _probed(session)

    assert while_out == []
    assert len(_turn(desk)) == 1
    assert _slot(desk.database).quarantined_because is None
    assert _slot_events(desk.database)[-1] == ("slot.resumed", "bob")


def test_asking_again_changes_nothing(database: Database):
    with database.write() as session:
        a_slot(session)
        a_slot(session, "g1")
        a_slot(session, "g2")
        _drain(session, "lab1.g0")
        _quarantine(session, "lab1.g1")

    with nothing_written(database), database.write() as session:
        _drain(session, "lab1.g0", note="another reason")
        _quarantine(session, "lab1.g1")
        _resume(session, "lab1.g2")

    assert _slot(database).service_change["note"] == "new cooling"


def test_a_quarantined_slot_is_not_drained_which_would_be_less(database: Database):
    with database.write() as session:
        a_slot(session)
        _quarantine(session)

        with pytest.raises(IllegalTransition, match="resume"):
            _drain(session)


@pytest.mark.parametrize("order", [_drain, _resume, _quarantine])
def test_a_slot_that_is_not_there_is_not_found(database: Database, order):
    with database.write() as session, pytest.raises(NotFound, match=r"lab1\.g0"):
        order(session)


def test_a_slot_that_is_quarantined_by_hand_shows_what_the_person_saw_and_what_runs_goes_on(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session, slot=a_slot(session))
        _quarantine(session)
        finish(session, attempt)

    slot = _slot(database)
    assert slot.service_state is ServiceState.QUARANTINED
    assert (slot.quarantined_because["by"], slot.quarantined_because["reason"]) == ("alice", "answers differ")


def test_draining_while_the_attempt_ends_always_leaves_the_slot_drained(database: Database):
    attempts = []
    with database.write() as session:
        for index in range(6):
            attempts.append(a_running_attempt(session, slot=a_slot(session, f"g{index}")).id)

    def end(attempt_id: int):
        def call() -> None:
            with database.write() as session:
                lifecycle.finish(
                    session, attempt_id, ending(), owner=owner_of(session, attempt_id), now=now(), max_attempts=3
                )

        return call

    def drain(slot: str):
        def call() -> None:
            with database.admission() as (session, moment):
                service.drain(session, slot, by="alice", note=None, now=moment)

        return call

    for index, attempt_id in enumerate(attempts):
        at_once(end(attempt_id), drain(f"lab1.g{index}"))

    with database.read() as session:
        assert set(session.scalars(select(Slot.service_state))) == {ServiceState.DRAINED}


def test_nothing_is_placed_on_a_slot_while_it_is_being_drained(desk: Desk):
    with desk.database.write() as session:
        for index in range(6):
            a_slot(session, f"g{index}")
            a_job(session)

    def drain() -> None:
        with desk.database.admission() as (session, moment):
            for index in range(6):
                service.drain(session, f"lab1.g{index}", by="alice", note=None, now=moment)

    at_once(drain, lambda: _turn(desk), lambda: _turn(desk))

    with desk.database.read() as session:
        assert session.scalars(select(Lease)).all() == []
        assert set(session.scalars(select(Job.state))) == {JobState.QUEUED}


# ── faults ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_sticky_fault_quarantines_the_slot_with_its_evidence_and_the_job_runs_elsewhere(desk: Desk):
    with desk.database.write() as session:
        attempt = a_running_attempt(session, slot=a_slot(session))
        a_slot(session, "g1")
        _end_badly(session, attempt)

    (bell,) = _turn(desk)

    slot = _slot(desk.database)
    because = slot.quarantined_because
    assert bell.queue == "lab1.g1"
    assert slot.service_state is ServiceState.QUARANTINED
    assert (because["job_id"], because["attempt_id"]) == (attempt.job_id, attempt.id)
    assert (because["reason"], because["signature"]) == (DEAD.reason, DEAD.signature)
    assert because["at"]
    with desk.database.read() as session:
        assert "slot.quarantined" in events_of(session, attempt.job_id)


def test_a_draining_slot_under_suspicion_is_quarantined_and_waits_for_a_person_as_a_drained_one_does(
    database: Database,
):
    with database.write() as session:
        attempt = a_running_attempt(session, slot=a_slot(session))
        _drain(session)
        _end_badly(session, attempt)

    slot = _slot(database)
    assert slot.service_state is ServiceState.QUARANTINED
    assert (slot.quarantined_because["by"], slot.quarantined_because["reason"]) == ("alice", DEAD.reason)


def test_a_job_that_is_pinned_to_a_quarantined_slot_waits_and_spends_no_attempt(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session, demand="card_group g0")
        _end_badly(session, a_running_attempt(session, job, a_slot(session)))
        a_slot(session, "g1")

    turns = [_turn(desk) for _ in range(3)]

    assert turns == [[], [], []]
    assert desk.states(job.id) == [JobState.QUEUED]


def test_a_success_with_a_device_error_in_its_log_keeps_its_result_and_quarantines_the_slot(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session, slot=a_slot(session))
        end = Ending(None, 1.0, None, 0, DEAD)
        state = lifecycle.finish(
            session, attempt.id, end, owner=owner_of(session, attempt.id), now=now(), max_attempts=3
        )

    assert state is JobState.SUCCEEDED
    assert _slot(database).quarantined_because["attempt_id"] == attempt.id


def test_a_job_that_cost_two_different_slots_fails_for_good_and_names_them(database: Database):
    with database.write() as session:
        job = a_job(session)
        states = [_end_badly(session, a_running_attempt(session, job, a_slot(session, name))) for name in ("g0", "g1")]
        failure = session.get_one(Job, job.id, populate_existing=True).failure

    assert states == [JobState.QUEUED, JobState.FAILED]
    assert failure["kind"] == FailureKind.DEVICE_KILLS
    assert "lab1.g0 and lab1.g1" in failure["reason"]


def test_the_same_slot_twice_is_the_slots_trouble_and_not_the_jobs(database: Database):
    with database.write() as session:
        job, slot = a_job(session), a_slot(session)
        _end_badly(session, a_running_attempt(session, job, slot))
        _resume(session)

        assert _end_badly(session, a_running_attempt(session, job, slot)) is JobState.QUEUED


def test_a_job_that_is_given_back_with_an_unkillable_process_left_behind_quarantines_the_slot(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session, slot=a_slot(session))
        lifecycle.give_back(
            session,
            attempt.id,
            owner=owner_of(session, attempt.id),
            now=now(),
            why="stopped",
            suspicion=Suspicion(reason="7 lives on"),
        )

    assert _slot(database).quarantined_because["reason"] == "7 lives on"


def test_an_ending_that_is_refused_quarantines_nothing(database: Database):
    with database.write() as session:
        attempt = a_running_attempt(session, slot=a_slot(session))
        lifecycle.lose(session, attempt.id, now=now(), why="its worker vanished", max_attempts=3)

    with pytest.raises(OwnershipLost), database.write() as session:
        _end_badly(session, attempt)

    assert _slot(database).service_state is ServiceState.IN_SERVICE


def test_a_worker_that_lost_its_attempt_may_still_warn_of_its_own_slot_and_of_no_other(database: Database):
    with database.write() as session:
        a_slot(session, "g0")
        a_slot(session, "g1", worker="worker-b")
        for name in ("lab1.g0", "lab1.g1"):
            service.suspect(session, name, worker=WORKER, reason="process 7 lives on", now=now())

    assert _slot(database).quarantined_because["reason"] == "process 7 lives on"
    assert _slot(database, "lab1.g1").service_state is ServiceState.IN_SERVICE


def test_what_was_placed_on_a_slot_before_its_worker_warned_of_it_goes_back_to_the_queue(database: Database):
    with database.write() as session:
        attempt = an_assigned_attempt(session, slot=a_slot(session, "g0"))

        service.suspect(session, "lab1.g0", worker=WORKER, reason="process 7 lives on", now=now())

    with database.read() as session:
        assert session.get_one(Attempt, attempt.id).state is AttemptState.LOST
        assert session.get_one(Job, attempt.job_id).state is JobState.QUEUED
        assert session.scalars(select(Lease.slot_id)).all() == []


def test_a_drained_slot_whose_worker_misses_a_card_stays_drained_and_its_cards_are_looked_at_on_resume(
    database: Database,
):
    with database.write() as session:
        a_slot(session)
        _drain(session)

        service.suspect(session, "lab1.g0", worker=WORKER, reason="card 1 is not there", now=now())
        _resume(session)

        slot = session.get_one(Slot, "lab1.g0")
        assert (slot.service_state, slot.service_change["by"]) == (ServiceState.DRAINED, "alice")
        assert slot.quarantined_because["reason"] == "card 1 is not there"
        assert slot.resume_requested["by"] == "bob"


def test_a_job_keeps_away_from_a_host_that_lacks_its_release_until_that_is_set_up(desk: Desk):
    with desk.database.write() as session:
        a_slot(session, host="lab1")
        lacks.note(session, "lab1", "r1", why="another build is there", now=now(), probed=False)
    job = desk.submit(desk.infer())

    kept_away = _turn(desk)
    with desk.database.read() as session:
        reasons = explanation.explanation(session, job, now=now(), lost_after=LEASE, aging=LEASE).reasons
    with desk.database.write() as session:
        lacks.regain(session, "lab1", "r1", now=now())

    assert kept_away == []
    (told,) = [reason.detail for reason in reasons if reason.kind is WaitsFor.LACKS_RELEASE]
    assert told.startswith("lab1.g0 is excluded since")
    assert told.endswith("until its worker is restarted: another build is there")
    assert [bell.queue for bell in _turn(desk)] == ["lab1.g0"]


def test_a_slot_stays_out_of_service_when_its_worker_is_started_again(database: Database):
    with database.write() as session:
        a_slot(session, heartbeat_at=now() - timedelta(days=1))
        _quarantine(session)
        session.expire_all()
        _announce(session, "worker-b")

    assert _slot(database).service_state is ServiceState.QUARANTINED


# ── back into service after suspicion ────────────────────────────────────────────────────────────────────────────────


def test_a_quarantined_slot_stays_so_until_its_worker_has_looked_at_its_cards(database: Database):
    with database.write() as session:
        a_slot(session)
        _quarantine(session)
        _resume(session)

    slot = _slot(database)
    assert (slot.service_state, slot.resume_requested["by"]) == (ServiceState.QUARANTINED, "bob")
    assert _slot_events(database)[-1] == ("slot.resume_requested", "bob")


def test_a_refused_slot_keeps_its_evidence_and_says_why_it_was_refused(database: Database):
    with database.write() as session:
        a_slot(session)
        _quarantine(session)
        _resume(session)
        _probed(session, refusal="card 2 is held by pid 7")

    slot = _slot(database)
    because = slot.quarantined_because
    assert (slot.service_state, slot.resume_requested) == (ServiceState.QUARANTINED, None)
    assert (because["reason"], because["resume_refused"]["reason"]) == ("answers differ", "card 2 is held by pid 7")
    assert because["resume_refused"]["evidence"] == {"cards": [0]}
    assert _slot_events(database)[-1] == ("slot.resume_refused", "bob")


def test_a_worker_that_lost_the_slot_answers_for_nobody(database: Database):
    with database.write() as session:
        a_slot(session)
        _quarantine(session)
        _resume(session)
        service.answer_resume(session, "lab1.g0", worker="another", now=now(), refusal=None, evidence=None)

    assert _slot(database).service_state is ServiceState.QUARANTINED


def test_a_seat_without_cards_is_resumed_at_once(database: Database):
    with database.write() as session:
        a_slot(session, "cpu0")
        _quarantine(session, "lab1.cpu0")
        _resume(session, "lab1.cpu0")

    assert _slot(database, "lab1.cpu0").service_state is ServiceState.IN_SERVICE


def test_a_later_quarantine_by_a_person_withdraws_the_wish_to_have_the_slot_back(database: Database):
    with database.write() as session:
        a_slot(session)
        service.suspect(session, "lab1.g0", worker=WORKER, reason="card 1 is gone", now=now())
        _resume(session)
        _quarantine(session)

    slot = _slot(database)
    assert slot.resume_requested is None
    assert (slot.quarantined_because["reason"], slot.quarantined_because["by"]) == ("card 1 is gone", "alice")
