"""Chores of the dispatcher: done when they are due, each by itself, and told in the log."""

import logging
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest
from builders.desk import Desk
from builders.lifecycle import LEASE, a_job, a_slot, an_assigned_attempt, claim, now, state_of
from sqlalchemy import select

from orchestrator.broker import Bell
from orchestrator.dispatcher.chores import Chore, Chores, UnheardBells
from orchestrator.dispatcher.main import Dispatcher
from orchestrator.model.slots import SlotName
from orchestrator.model.states import JobState, ServiceState
from orchestrator.scheduling.explanation import explanation
from orchestrator.scheduling.placement.explain import WaitsFor
from orchestrator.slots import presence
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Event, Slot

SECOND = timedelta(seconds=1)


class Time:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


def _counting(done: list[str], name: str, count: int = 1) -> Callable[[], int]:
    def do() -> int:
        done.append(name)
        return count

    return do


def _failing() -> int:
    raise ValueError("a row that nobody foresaw")


def test_a_chore_that_fails_is_logged_with_its_name_and_the_others_still_run(caplog):
    done: list[str] = []
    table = (
        Chore("before", SECOND, _counting(done, "before")),
        Chore("broken", SECOND, _failing),
        Chore("after", SECOND, _counting(done, "after")),
    )

    with caplog.at_level(logging.INFO, logger="tx81.dispatcher"):
        failed = Chores(table).run()

    assert done == ["before", "after"]
    assert list(failed) == ["broken"]
    (told,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert "broken" in told.getMessage()
    assert "a row that nobody foresaw" in told.getMessage()


def test_the_log_has_a_line_for_each_chore_that_did_something_and_none_for_the_others(caplog):
    done: list[str] = []
    table = (Chore("bells", SECOND, _counting(done, "bells", 3)), Chore("hosts", SECOND, _counting(done, "hosts", 0)))

    with caplog.at_level(logging.INFO, logger="tx81.dispatcher"):
        Chores(table).run()

    assert done == ["bells", "hosts"]
    assert [record.getMessage() for record in caplog.records] == ["chore bells: 3"]


def test_each_chore_is_done_as_often_as_it_says():
    done: list[str] = []
    clock = Time()
    table = (
        Chore("often", SECOND, _counting(done, "often")),
        Chore("seldom", 3 * SECOND, _counting(done, "seldom")),
    )
    chores = Chores(table, clock)

    for _ in range(9):  # Four seconds, looked at twice in each.
        chores.run()
        clock.seconds += 0.5

    assert (done.count("often"), done.count("seldom")) == (5, 2)


def test_a_chore_that_failed_is_tried_again_when_it_is_due_again():
    clock = Time()
    chores = Chores((Chore("broken", SECOND, _failing),), clock)

    seen = [list(chores.run())]
    clock.seconds += 0.5
    seen.append(list(chores.run()))
    clock.seconds += 0.5
    seen.append(list(chores.run()))

    assert seen == [["broken"], [], ["broken"]]


def _unheard(database: Database) -> int:
    """An attempt whose bell nobody heard for an hour."""
    with database.write() as session:
        attempt = an_assigned_attempt(session)
        attempt.rung_at = now() - 60 * LEASE
        return attempt.id


def test_a_row_that_one_chore_can_not_read_keeps_no_other_from_its_work(desk: Desk, caplog):
    rung: list[Bell] = []
    unheard = _unheard(desk.database)
    with desk.database.write() as session:
        late = a_job(session)
        late.queue_deadline_at = now() - LEASE
        a_slot(session, "g7", service_state=ServiceState.QUARANTINED, quarantined_because={"at": "some time ago"})

    def ring(bells: Sequence[Bell]) -> bool:
        rung.extend(bells)
        return True

    dispatcher = Dispatcher(desk.settings, desk.database, ring)

    dispatcher.lead()
    failed = dispatcher.sweep()

    assert list(failed) == ["canaries"]
    assert "canaries" in caplog.text
    assert state_of(desk.database, late.id) is JobState.FAILED
    assert [bell.attempt_id for bell in rung] == [unheard]


# ── bells that nobody hears ──────────────────────────────────────────────────────────────────────────────────────────


class Broker:
    """Takes bells, or is away; nobody hears any of them."""

    def __init__(self) -> None:
        self.away = False
        self.rung: list[int] = []

    def __call__(self, bells: Sequence[Bell]) -> bool:
        self.rung += [bell.attempt_id for bell in bells]
        return not self.away


def _bells(database: Database, broker: Broker) -> UnheardBells:
    return UnheardBells(database, broker, after=timedelta(0), lost_after=LEASE)


def _deaf(database: Database, slot_id: str) -> bool:
    with database.read() as session:
        return session.get_one(Slot, slot_id).deaf is not None


def test_a_worker_that_has_not_heard_two_bells_gets_no_more_work_until_it_is_announced_again(desk: Desk):
    with desk.database.write() as session:
        attempt = an_assigned_attempt(session)
        slot = session.get_one(Slot, attempt.slot_id)
    broker = Broker()
    bells = _bells(desk.database, broker)

    for _ in range(2):
        bells.ring_again()
        assert not _deaf(desk.database, slot.id)
    bells.ring_again()

    assert _deaf(desk.database, slot.id)
    assert state_of(desk.database, attempt.job_id) is JobState.QUEUED
    with desk.database.read() as session:
        (told,) = session.scalars(select(Event).where(Event.kind == "slot.deaf"))
        seen = explanation(session, attempt.job_id, now=now(), lost_after=LEASE, aging=LEASE)
    assert (told.slot_id, told.attempt_id) == (slot.id, attempt.id)
    assert {reason.kind: reason.slot_id for reason in seen.reasons}[WaitsFor.WORKER_DEAF] == slot.id
    with desk.database.write() as session:
        presence.announce(
            session, host=slot.host, name=SlotName.parse(slot.name), worker="the next", pid=2, lock_domain="of lab1",
            now=now() + 2 * LEASE, lost_after=LEASE,
        )  # fmt: skip
    assert not _deaf(desk.database, slot.id)


def test_bells_that_the_broker_did_not_take_are_held_against_no_worker(desk: Desk):
    with desk.database.write() as session:
        attempt = an_assigned_attempt(session)
    broker = Broker()
    broker.away = True
    bells = _bells(desk.database, broker)

    for _ in range(5):
        bells.ring_again()

    assert broker.rung == [attempt.id] * 5
    assert not _deaf(desk.database, attempt.slot_id)
    assert state_of(desk.database, attempt.job_id) is JobState.ASSIGNED


@pytest.mark.parametrize("what", ["was claimed", "its worker gives no heartbeat"])
def test_who_hears_late_or_is_away_is_not_deaf(desk: Desk, what: str):
    with desk.database.write() as session:
        attempt = an_assigned_attempt(session)
        if what != "was claimed":
            session.get_one(Slot, attempt.slot_id).heartbeat_at = now() - 2 * LEASE
    bells = _bells(desk.database, Broker())
    bells.ring_again()
    bells.ring_again()
    if what == "was claimed":
        with desk.database.write() as session:
            assert claim(session, session.get_one(Attempt, attempt.id))

    bells.ring_again()

    assert not _deaf(desk.database, attempt.slot_id)
    expected = JobState.RUNNING if what == "was claimed" else JobState.ASSIGNED
    assert state_of(desk.database, attempt.job_id) is expected
