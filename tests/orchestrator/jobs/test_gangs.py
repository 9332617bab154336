"""Attempts on several card groups of a host: their slots live and end together, on both databases."""

from datetime import timedelta

import pytest
from builders.databases import at_once
from builders.lifecycle import (
    FAULT,
    LEASE,
    WORKER,
    a_job,
    a_running_attempt,
    a_slot,
    assign,
    claim,
    ending,
    finish,
    now,
    owner_of,
)
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from orchestrator.dispatcher import sweeps
from orchestrator.dispatcher.turn import bells
from orchestrator.errors import OwnershipLost
from orchestrator.jobs import lifecycle, queries, shares
from orchestrator.jobs.lifecycle import Ending
from orchestrator.jobs.queries import JobFilter
from orchestrator.model.failures import Suspicion
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.slots import presence
from orchestrator.slots import service as slot_service
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Event, Job, Lease, Project, Slot

NAMES = ("lab1.g0", "lab1.g2")
DEAD = Suspicion(reason="HPGR: device error", signature="hpgr_device_error")


def an_assigned_gang(session: Session, *names: str) -> Attempt:
    """An attempt on these slots of one host, the first of which leads."""
    for name in names or NAMES:
        if session.get(Slot, name) is None:
            host, _, slot = name.rpartition(".")
            a_slot(
                session,
                slot,
                host=host,
                lock_domain="of lab1",
                worker=WORKER if name == (names or NAMES)[0] else f"worker of {name}",
            )
    attempt_id = assign(session, a_job(session).id, *(names or NAMES))
    return session.get_one(Attempt, attempt_id)


def a_running_gang(session: Session, *names: str) -> Attempt:
    attempt = an_assigned_gang(session, *names)
    assert claim(session, attempt)
    session.refresh(attempt)
    return attempt


def held(database: Database) -> set[str]:
    with database.read() as session:
        return set(session.scalars(select(Lease.slot_id)))


def service(database: Database) -> dict[str, ServiceState]:
    with database.read() as session:
        return {slot.id: slot.service_state for slot in session.scalars(select(Slot))}


def end_badly(session: Session, attempt: Attempt, suspicion: Suspicion = DEAD) -> JobState:
    end = Ending(FAULT, 1.0, None, 0, suspicion)
    return lifecycle.finish(session, attempt.id, end, owner=owner_of(session, attempt.id), now=now(), max_attempts=3)


# ── taken and given back together ────────────────────────────────────────────────────────────────────────────────────


def test_a_gang_holds_all_its_slots_and_one_bell_rings_for_them(database: Database):
    with database.write() as session:
        attempt = an_assigned_gang(session)
        rung = bells(session, [attempt.id])

    assert held(database) == set(NAMES)
    assert (attempt.slot_id, attempt.slot_ids) == ("lab1.g0", list(NAMES))
    assert [bell.queue for bell in rung] == ["lab1.g0"]
    assert "on lab1.g0,g2," in rung[0].description


def test_a_gang_gets_all_its_slots_or_none(database: Database):
    with database.write() as session:
        a_running_attempt(session, slot=a_slot(session, "g2"))
        job_id = a_job(session).id
        a_slot(session, "g0")

    with pytest.raises(IntegrityError), database.write() as session:
        assign(session, job_id, *NAMES)

    assert held(database) == {"lab1.g2"}
    with database.read() as session:
        assert session.get_one(Job, job_id).state is JobState.QUEUED


def test_of_gangs_that_want_some_of_the_same_slots_at_once_one_gets_them(database: Database):
    with database.write() as session:
        for name in ("g0", "g1", "g2"):
            a_slot(session, name)
        jobs = [a_job(session).id for _ in range(4)]
    wanted = [("lab1.g0", "lab1.g1"), ("lab1.g2", "lab1.g1"), ("lab1.g1", "lab1.g0"), ("lab1.g1", "lab1.g2")]

    def book(number: int) -> bool:
        try:
            with database.write() as session:
                assign(session, jobs[number], *wanted[number])
        except IntegrityError:
            return False
        return True

    won = at_once(*(lambda number=number: book(number) for number in range(4)))

    assert sorted(won) == [False, False, False, True]
    assert held(database) == set(wanted[won.index(True)])


def test_renewing_keeps_every_slot(database: Database):
    with database.write() as session:
        attempt = a_running_gang(session)
        lifecycle.renew(session, attempt.id, owner=owner_of(session, attempt.id), now=now(), lease=timedelta(hours=1))

    with database.read() as session:
        ends = session.scalars(select(Lease.expires_at)).all()
    assert len(ends) == 2
    assert min(ends) > now() + timedelta(minutes=59)


@pytest.mark.parametrize("end", ["finished", "lost", "given back", "cancelled before it began", "withdrawn"])
def test_all_slots_come_back_together_however_the_attempt_ends(database: Database, end: str):
    with database.write() as session:
        begun = end in ("finished", "lost", "given back")
        attempt = a_running_gang(session) if begun else an_assigned_gang(session)
        match end:
            case "finished":
                finish(session, attempt)
            case "lost":
                lifecycle.lose(session, attempt.id, now=now(), why="gone", max_attempts=3)
            case "given back":
                lifecycle.give_back(session, attempt.id, owner=owner_of(session, attempt.id), now=now(), why="stopped")
            case "withdrawn":
                lifecycle.withdraw(session, attempt.id, now=now(), why="drained")
            case _:
                lifecycle.cancel(session, attempt.job_id, by=None, now=now())

    assert held(database) == set()
    assert set(service(database).values()) == {ServiceState.IN_SERVICE}
    with database.read() as session:
        assert None not in session.scalars(select(Slot.last_ended_at)).all()


def test_a_gang_that_was_taken_away_can_neither_renew_nor_finish(database: Database):
    with database.write() as session:
        attempt = a_running_gang(session)
        lifecycle.lose(session, attempt.id, now=now(), why="gone", max_attempts=3)

    with pytest.raises(OwnershipLost), database.write() as session:
        lifecycle.renew(session, attempt.id, owner=owner_of(session, attempt.id), now=now(), lease=LEASE)
    with pytest.raises(OwnershipLost), database.write() as session:
        end_badly(session, attempt)
    assert set(service(database).values()) == {ServiceState.IN_SERVICE}


def test_a_renewal_and_the_end_of_a_gang_never_wait_for_each_other_in_a_circle(database: Database):
    names = tuple(f"lab1.g{index}" for index in range(8))
    with database.write() as session:
        attempts = [a_running_gang(session, *names).id]

    def renew() -> str:
        try:
            with database.write() as session:
                lifecycle.renew(session, attempts[0], owner=owner_of(session, attempts[0]), now=now(), lease=LEASE)
        except OwnershipLost:
            return "lost"
        return "renewed"

    def lose() -> str:
        with database.write() as session:
            lifecycle.lose(session, attempts[0], now=now(), why="gone", max_attempts=3)
        return "ended"

    told = at_once(renew, lose, renew, renew)

    assert told[1] == "ended"
    assert held(database) == set()


def test_a_lease_that_runs_out_gives_the_whole_gang_back(database: Database):
    with database.write() as session:
        attempt = a_running_gang(session)
        lifecycle.renew(
            session, attempt.id, owner=owner_of(session, attempt.id), now=now() - timedelta(hours=1), lease=LEASE
        )

    assert sweeps.end_expired_leases(database, max_attempts=3) == 1

    assert held(database) == set()
    with database.read() as session:
        assert session.get_one(Attempt, attempt.id).state is AttemptState.LOST


def test_a_project_pays_for_every_slot_of_its_gang(database: Database):
    with database.write() as session:
        attempt, moment = a_running_gang(session), now()
        attempt.started_at = moment - timedelta(seconds=100)
        session.flush()
        while_it_runs = shares.all_shares(session, moment)["default"].used
        lifecycle.finish(session, attempt.id, ending(), owner=owner_of(session, attempt.id), now=moment, max_attempts=3)
        paid = session.get_one(Project, "default").used_seconds

    assert (while_it_runs, paid) == (200, 200)


# ── suspicion ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_suspicion_quarantines_every_slot_since_nobody_can_tell_which(database: Database):
    with database.write() as session:
        attempt = a_running_gang(session)
        state = end_badly(session, attempt)

    assert state is JobState.QUEUED
    assert service(database) == dict.fromkeys(NAMES, ServiceState.QUARANTINED)
    with database.read() as session:
        for name in NAMES:
            because = session.get_one(Slot, name).quarantined_because
            assert because["reason"] == "HPGR: device error (on one of lab1.g0, lab1.g2; unknown which)"
            assert (because["slots"], because["attempt_id"]) == (list(NAMES), attempt.id)
        quarantined = session.scalars(select(Event.slot_id).where(Event.kind == "slot.quarantined")).all()
    assert sorted(quarantined) == list(NAMES)


def test_a_suspicion_that_names_a_slot_leaves_the_others_in_service(database: Database):
    with database.write() as session:
        attempt = a_running_gang(session)
        end_badly(session, attempt, Suspicion(reason="held by pid 7", slots=("lab1.g2",)))

    assert service(database) == {"lab1.g0": ServiceState.IN_SERVICE, "lab1.g2": ServiceState.QUARANTINED}
    with database.read() as session:
        assert session.get_one(Slot, "lab1.g2").quarantined_because["reason"] == "held by pid 7"


@pytest.mark.parametrize(
    ("blames_job", "state"), [(True, JobState.FAILED), (False, JobState.QUEUED)], ids=["its doing", "found so"]
)
def test_two_gangs_that_ended_in_suspicion_are_two_kills_and_one_is_one(database, blames_job: bool, state: JobState):
    suspicion = DEAD.model_copy(update={"blames_job": blames_job})
    with database.write() as session:
        first = a_running_gang(session)
        after_one = end_badly(session, first, suspicion)
        for name in ("g4", "g5"):
            a_slot(session, name)
        second = assign(session, first.job_id, "lab1.g4", "lab1.g5")
        claim(session, session.get_one(Attempt, second))
        after_two = end_badly(session, session.get_one(Attempt, second), suspicion)

    assert (after_one, after_two) == (JobState.QUEUED, state)


def test_a_worker_that_lost_its_gang_may_still_warn_of_all_its_slots(database: Database):
    with database.write() as session:
        attempt = a_running_gang(session)
        lifecycle.lose(session, attempt.id, now=now(), why="gone", max_attempts=3)
        slot_service.suspect(session, NAMES[0], worker=WORKER, reason="pid 7 lives on", now=now(), others=NAMES[1:])

    assert service(database) == dict.fromkeys(NAMES, ServiceState.QUARANTINED)


# ── people and workers of the other slots ────────────────────────────────────────────────────────────────────────────


def test_draining_a_slot_of_a_gang_that_has_not_begun_takes_the_gang_back(database: Database):
    with database.write() as session:
        attempt = an_assigned_gang(session)
        slot_service.drain(session, "lab1.g2", by="alice", note=None, now=now())

    assert held(database) == set()
    assert service(database) == {"lab1.g0": ServiceState.IN_SERVICE, "lab1.g2": ServiceState.DRAINED}
    with database.read() as session:
        assert session.get_one(Job, attempt.job_id).state is JobState.QUEUED


def test_a_slot_of_a_running_gang_is_drained_when_the_gang_has_ended(database: Database):
    with database.write() as session:
        attempt = a_running_gang(session)
        slot_service.drain(session, "lab1.g2", by="alice", note=None, now=now())
    while_it_runs = service(database)["lab1.g2"]

    with database.write() as session:
        finish(session, attempt)

    assert while_it_runs is ServiceState.DRAINING
    assert service(database) == {"lab1.g0": ServiceState.IN_SERVICE, "lab1.g2": ServiceState.DRAINED}


def test_a_worker_that_starts_again_leaves_a_gang_alone_that_another_leads(database: Database):
    with database.write() as session:
        a_running_gang(session)

    with database.write() as session:
        lost = [
            presence.announce(
                session, host="lab1", name=SlotName.parse(name), worker="worker-b", pid=2, lock_domain="of lab1",
                now=now(), lost_after=timedelta(0),
            )
            for name in ("g2", "g0")
        ]  # fmt: skip

    assert [len(attempts) for attempts in lost] == [0, 1]
    assert held(database) == set(NAMES)


def test_a_gang_is_found_by_any_of_its_slots(database: Database):
    with database.write() as session:
        job_id = a_running_gang(session).job_id
        a_running_attempt(session, slot=a_slot(session, "g2", host="xlab1"))

    with database.read() as session:
        found = {
            slot: [entry.job.id for entry in queries.jobs(session, JobFilter(slot=slot), limit=9)]
            for slot in ("lab1.g0", "lab1.g2", "lab1.g1", "%", "lab1.g", "lab1_g0")
        }

    assert {slot for slot, jobs in found.items() if jobs} == set(NAMES)
    assert found["lab1.g2"] == [job_id]
