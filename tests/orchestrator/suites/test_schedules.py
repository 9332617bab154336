"""Schedules fire once, whatever dies, runs twice or sets the clock, on both databases."""

from datetime import UTC, datetime, timedelta

import pytest
from builders.databases import at_once, both_databases
from builders.desk import Desk
from builders.suites import SuiteDesk
from sqlalchemy import select

from orchestrator.errors import NotFound, OrchestratorError
from orchestrator.model.schedules import ScheduleDocument
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Job, ScheduleFiring, Suite, SuiteRun
from orchestrator.suites import definitions, judging, schedules
from orchestrator.suites.schedules import Scheduler

pytestmark = both_databases

START = datetime(2026, 3, 2, 1, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Clock:
    now = START

    def advance(self, by: timedelta) -> None:
        self.now += by


@pytest.fixture
def clock(desk: Desk, monkeypatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(desk.database, "now", lambda _session: clock.now)
    return clock


@pytest.fixture
def lab(desk: Desk, clock: Clock) -> SuiteDesk:
    lab = SuiteDesk(desk)
    lab.apply()
    return lab


@pytest.fixture
def scheduler(lab: SuiteDesk) -> Scheduler:
    return Scheduler(lab.desk.database, lab.runs, lambda _session: None)


def _set(lab: SuiteDesk, clock: Clock, name: str = "night", **fields) -> None:
    document = ScheduleDocument.model_validate({"suite": "nightly", "cron": "0 2 * * *", **fields})
    with lab.desk.database.write() as session:
        schedules.set_schedule(session, name, document, by="alice", now=clock.now)


def _order(lab: SuiteDesk, order, clock: Clock, name: str = "night") -> None:
    with lab.desk.database.write() as session:
        order(session, name, by="alice", now=clock.now)


def _fired(lab: SuiteDesk) -> list[tuple[str, str]]:
    with lab.desk.database.read() as session:
        rows = session.scalars(select(ScheduleFiring).order_by(ScheduleFiring.due_at)).all()
    return [(f"{row.due_at:%d %H:%M}", row.state) for row in rows]


def _runs(lab: SuiteDesk) -> int:
    with lab.desk.database.read() as session:
        return len(session.scalars(select(SuiteRun.id)).all())


def _end_all(lab: SuiteDesk) -> None:
    """Carry all runs to their ends, as if the clock stood still."""
    with lab.desk.database.write() as session:
        for run in session.scalars(select(SuiteRun).where(SuiteRun.ended_at.is_(None))):
            run.ended_at = run.created_at


def test_a_due_time_starts_one_run_however_often_one_looks(lab, clock, scheduler):
    _set(lab, clock)

    assert scheduler.tend() == 0
    clock.advance(HOUR)
    assert [scheduler.tend() for _ in range(3)] == [1, 0, 0]

    assert _fired(lab) == [("02 02:00", "started")]
    with lab.desk.database.read() as session:
        run = session.scalars(select(SuiteRun)).one()
    assert (run.schedule, run.due_at, run.started_by) == ("night", START + HOUR, "schedule night")


def test_the_time_zone_decides_when_it_is_due(lab, clock, scheduler):
    _set(lab, clock, zone="Asia/Shanghai", cron="30 9 * * *")

    clock.advance(HOUR)
    scheduler.tend()

    assert _fired(lab) == [("02 01:30", "started")]


def test_two_dispatchers_at_once_start_one_run(lab, clock, scheduler):
    _set(lab, clock)
    other = Scheduler(lab.desk.database, lab.runs, lambda _session: None)
    clock.advance(HOUR)

    assert sorted(at_once(scheduler.tend, other.tend)) == [0, 1]

    assert (_fired(lab), _runs(lab)) == ([("02 02:00", "started")], 1)


def test_a_dispatcher_that_has_lost_the_lead_starts_nothing(lab, clock):
    class LeadLost(OrchestratorError):
        code = "lead_lost"

    def fence(_session):
        raise LeadLost("another one leads")

    _set(lab, clock)
    clock.advance(HOUR)

    with pytest.raises(LeadLost):
        Scheduler(lab.desk.database, lab.runs, fence).tend()

    assert (_fired(lab), _runs(lab)) == ([], 0)


def test_a_clock_that_is_set_back_and_on_fires_nothing_twice(lab, clock, scheduler):
    _set(lab, clock)
    clock.advance(HOUR)
    scheduler.tend()
    _end_all(lab)

    clock.advance(-2 * HOUR)
    scheduler.tend()
    clock.advance(2 * HOUR)
    scheduler.tend()
    clock.advance(DAY)
    scheduler.tend()

    assert _fired(lab) == [("02 02:00", "started"), ("03 02:00", "started")]


def test_a_clock_that_was_a_year_ahead_for_a_moment_does_not_silence_the_schedule(lab, clock, scheduler):
    _set(lab, clock)
    clock.advance(365 * DAY)
    scheduler.tend()
    _end_all(lab)
    clock.advance(-365 * DAY)

    scheduler.tend()
    clock.advance(HOUR)
    scheduler.tend()

    assert ("02 02:00", "started") in _fired(lab)


def test_missed_due_times_give_one_run_that_says_how_many_were_given_up(lab, clock, scheduler):
    _set(lab, clock)
    clock.advance(3 * DAY)

    scheduler.tend()

    assert _fired(lab) == [("04 02:00", "started")]
    with lab.desk.database.read() as session:
        assert session.scalars(select(ScheduleFiring.given_up)).all() == [2]


def test_missed_due_times_are_skipped_if_the_schedule_says_so_and_the_next_one_fires(lab, clock, scheduler):
    _set(lab, clock, missed="skip")
    clock.advance(3 * DAY)

    scheduler.tend()
    assert _fired(lab) == []
    clock.advance(HOUR)
    scheduler.tend()

    assert _fired(lab) == [("05 02:00", "started")]


def test_all_missed_due_times_run_one_after_the_other_if_the_schedule_says_so(lab, clock, scheduler):
    _set(lab, clock, missed="run_all", overlap="queue")
    clock.advance(3 * DAY)

    for _ in range(4):
        scheduler.tend()
        assert _runs(lab) <= 3
        _end_all(lab)

    assert _fired(lab) == [("02 02:00", "started"), ("03 02:00", "started"), ("04 02:00", "started")]


@pytest.mark.parametrize(
    ("overlap", "fired", "running"),
    [
        ("skip", [("02 02:00", "started"), ("03 02:00", "skipped")], 1),
        ("queue", [("02 02:00", "started"), ("03 02:00", "waiting")], 1),
        ("cancel_old", [("02 02:00", "started"), ("03 02:00", "started")], 2),
    ],
)
def test_a_due_time_that_finds_the_suite_running_does_as_the_schedule_says(
    lab, clock, scheduler, overlap, fired, running
):
    _set(lab, clock, overlap=overlap)
    clock.advance(HOUR)
    scheduler.tend()
    clock.advance(DAY)
    scheduler.tend()

    assert (_fired(lab), _runs(lab)) == (fired, running)


def test_a_due_time_that_waited_starts_when_the_run_has_ended_and_no_more_than_one_waits(lab, clock, scheduler):
    _set(lab, clock, overlap="queue")
    for _ in range(3):
        clock.advance(DAY)
        scheduler.tend()

    _end_all(lab)
    scheduler.tend()

    assert _fired(lab) == [("02 02:00", "started"), ("03 02:00", "started"), ("04 02:00", "skipped")]


def test_the_run_that_is_cancelled_for_a_new_one_has_no_jobs_left_and_is_no_alarm(lab, clock, scheduler):
    _set(lab, clock, overlap="cancel_old")
    clock.advance(HOUR)
    scheduler.tend()
    clock.advance(DAY)
    scheduler.tend()

    with lab.desk.database.read() as session:
        old, new = session.scalars(select(SuiteRun).order_by(SuiteRun.id)).all()
        states = dict(session.execute(select(Job.batch_id, Job.state)).all())
        suite = session.get_one(Suite, "nightly")
    assert (old.ended_at, new.ended_at) == (clock.now, None)
    assert "was due again" in old.why
    assert states == {old.batch_id: JobState.CANCELLED, new.batch_id: JobState.QUEUED}
    assert suite.verdict is None


def test_a_suite_that_was_removed_is_refused_and_shown_and_the_next_due_time_is_tried_again(lab, clock, scheduler):
    _set(lab, clock)
    with lab.desk.database.write() as session:
        session.get_one(Suite, "nightly").removed_at = clock.now
    clock.advance(HOUR)

    scheduler.tend()
    scheduler.tend()

    assert (_fired(lab), _runs(lab)) == ([("02 02:00", "refused")], 0)
    with lab.desk.database.read() as session:
        facts = schedules.schedule_facts(session, "night", clock.now)
    assert "was removed" in facts.last.why
    assert "was removed" in facts.problem


def test_a_paused_schedule_fires_nothing_and_what_was_due_meanwhile_is_not_made_up_for(lab, clock, scheduler):
    _set(lab, clock)
    _order(lab, schedules.pause, clock)
    clock.advance(2 * DAY)
    scheduler.tend()
    _order(lab, schedules.resume, clock)
    scheduler.tend()
    assert _fired(lab) == []

    clock.advance(HOUR)
    scheduler.tend()

    assert _fired(lab) == [("04 02:00", "started")]


def test_a_schedule_that_is_made_again_does_not_fire_a_due_time_again(lab, clock, scheduler):
    _set(lab, clock)
    clock.advance(HOUR)
    scheduler.tend()
    _end_all(lab)
    _order(lab, schedules.remove, clock)
    clock.advance(-HOUR)
    _set(lab, clock)
    clock.advance(HOUR)

    scheduler.tend()

    assert _fired(lab) == [("02 02:00", "started")]


def test_the_next_times_of_a_schedule_are_shown_and_those_of_a_paused_one_are_none(lab, clock):
    _set(lab, clock)
    with lab.desk.database.read() as session:
        shown = schedules.schedule_facts(session, "night", clock.now).next_times
    _order(lab, schedules.pause, clock)
    with lab.desk.database.read() as session:
        paused = schedules.schedule_facts(session, "night", clock.now).next_times

    assert [f"{at:%d %H:%M}" for at in shown] == ["02 02:00", "03 02:00", "04 02:00", "05 02:00", "06 02:00"]
    assert paused == ()


def test_a_schedule_of_a_suite_that_is_not_there_is_refused_with_its_field(lab, clock):
    with pytest.raises(NotFound, match="there is no suite other") as refused:
        _set(lab, clock, suite="other")

    assert refused.value.field == "suite"


def test_a_suite_that_was_not_judged_in_time_is_missing_and_announced_once(lab, clock):
    _set(lab, clock, max_age_seconds=7200)
    with lab.desk.database.write() as session:
        session.get_one(Suite, "nightly").created_at = clock.now

    clock.advance(HOUR)
    assert judging.note_missing(lab.desk.database) == 0
    clock.advance(2 * HOUR)
    assert [judging.note_missing(lab.desk.database) for _ in range(2)] == [1, 0]

    with lab.desk.database.read() as session:
        (facts,) = definitions.suites(session, clock.now)
    assert (facts.suite.verdict, facts.missing_since) == ("missing", START + 2 * HOUR)
