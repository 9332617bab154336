"""Due times over changes of clocks, and what becomes of those that were missed."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise, takewhile
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from orchestrator.model.schedules import (
    MOST_AT_ONCE,
    ON_TIME,
    Due,
    Missed,
    ScheduleDocument,
    after,
    between,
    to_fire,
)

ZONES = ("UTC", "Asia/Shanghai", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia")
LINES = ("30 2 * * *", "0 * * * *", "*/15 * * * *", "15 1,2,3 * * *", "0 0 1 * *", "30 2 * * 0", "0 12 29 2 *")

zones, lines = st.sampled_from(ZONES), st.sampled_from(LINES)
# Around the days on which clocks are set, in both hemispheres.
moments = st.integers(0, 260 * 24 * 3600).map(lambda seconds: datetime(2026, 3, 1, tzinfo=UTC) + timedelta(0, seconds))


def _until(cron: str, zone: str, start: datetime, end: datetime) -> list[datetime]:
    return list(takewhile(lambda due: due <= end, after(cron, zone, start)))


@given(lines, zones, moments)
def test_due_times_rise_and_lie_after_the_moment(cron, zone, moment):
    found = list(islice(after(cron, zone, moment), 20))

    assert found == sorted(set(found))
    assert found[0] > moment


@given(lines, zones, moments, st.integers(1, 40 * 24 * 60), st.floats(0, 1))
def test_it_does_not_matter_how_often_one_looks_none_is_lost_and_none_is_seen_twice(cron, zone, start, minutes, part):
    end = start + timedelta(minutes=minutes)
    middle = start + (end - start) * part

    once = between(cron, zone, start, end)
    twice = (*between(cron, zone, start, middle), *between(cron, zone, middle, end))

    assert once == twice[-MOST_AT_ONCE:]
    assert once == tuple(_until(cron, zone, start, end)[-MOST_AT_ONCE:])


@given(zones, moments)
def test_a_daily_time_is_due_once_a_day_whatever_clocks_do(zone, moment):
    found = list(islice(after("30 2 * * *", zone, moment), 300))

    days = [due.astimezone(ZoneInfo(zone)).date() for due in found]
    assert len(set(days)) == len(days)
    assert all(timedelta(hours=22) <= later - sooner <= timedelta(hours=26) for sooner, later in pairwise(found))


def test_a_time_that_clocks_skip_is_due_when_they_were_set_and_one_shown_twice_is_due_the_first_time():
    spring = next(after("30 2 * * *", "Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC)))
    autumn = list(islice(after("30 2 * * *", "Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC)), 2))

    assert spring == datetime(2026, 3, 29, 1, 0, tzinfo=UTC)
    assert autumn == [datetime(2026, 10, 25, 0, 30, tzinfo=UTC), datetime(2026, 10, 26, 1, 30, tzinfo=UTC)]


def test_after_years_without_a_dispatcher_only_the_latest_due_times_are_looked_at():
    found = between("* * * * *", "UTC", datetime(1990, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC))

    assert (len(found), found[-1]) == (MOST_AT_ONCE, datetime(2026, 1, 1, tzinfo=UTC))


@pytest.mark.parametrize(
    ("missed", "late", "fired"),
    [
        (Missed.RUN_LATEST, timedelta(hours=5), [Due(datetime(2026, 1, 3, tzinfo=UTC), 2)]),
        (Missed.RUN_ALL, timedelta(hours=5), [Due(datetime(2026, 1, day, tzinfo=UTC)) for day in (1, 2, 3)]),
        (Missed.SKIP, timedelta(hours=5), []),
        (Missed.SKIP, ON_TIME, [Due(datetime(2026, 1, 3, tzinfo=UTC), 2)]),
    ],
)
def test_missed_due_times_are_made_up_for_as_the_schedule_says(missed, late, fired):
    due = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 2, 3)]

    assert list(to_fire(due, missed, due[-1] + late)) == fired
    assert to_fire([], missed, due[-1]) == ()


@pytest.mark.parametrize(
    ("fields", "field", "said"),
    [
        ({"cron": "0 0 30 2 *"}, "cron", "it never fires"),
        ({"cron": "0 0 31 4,6 *"}, "cron", "it never fires"),
        ({"cron": "* * * * * *"}, "cron", "five fields"),
        ({"cron": "60 * * * *"}, "cron", "bad minute"),
        ({"cron": "0 0 * * 5L/2"}, "cron", "bad day-of-week"),
        ({"cron": "0 0 " + "1," * 200 + "1 * *"}, "cron", "at most 200"),
        ({"zone": "Mars/Olympus"}, "zone", "there is no time zone"),
        ({"zone": "../../etc/passwd"}, "zone", "pattern"),
        ({"zone": "Europe"}, "zone", "there is no time zone"),
        ({"missed": "run_all"}, "", "needs overlap: queue"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_with_its_field(fields, field, said):
    with pytest.raises(ValidationError, match=said) as refused:
        ScheduleDocument.model_validate({"suite": "nightly", "cron": "0 2 * * *", **fields})

    assert ".".join(map(str, refused.value.errors()[0]["loc"])) == field
