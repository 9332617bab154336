"""Chores of the dispatcher: done when they are due, each by itself, and told in the log."""

import logging
from collections.abc import Callable
from datetime import timedelta

import pytest
from core_builders import LEASE, Desk, a_desk, a_job, a_slot, an_assigned_attempt, now, state_of

from orchestrator.broker import Bell
from orchestrator.dispatcher.chores import Chore, Chores
from orchestrator.dispatcher.main import Dispatcher
from orchestrator.model.states import JobState, ServiceState
from orchestrator.storage.database import Database

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


@pytest.fixture
def desk(database, store, tmp_path) -> Desk:
    return a_desk(database, store, tmp_path)


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
    dispatcher = Dispatcher(desk.settings, desk.database, rung.extend)

    dispatcher.lead()
    failed = dispatcher.sweep()

    assert list(failed) == ["canaries"]
    assert "canaries" in caplog.text
    assert state_of(desk.database, late.id) is JobState.FAILED
    assert [bell.attempt_id for bell in rung] == [unheard]
