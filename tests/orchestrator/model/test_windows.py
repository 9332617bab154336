"""When a reserved slot is closed to a job."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.model.windows import Window

HOUR = timedelta(hours=1)
START = datetime(2026, 3, 1, 12, tzinfo=UTC)
OURS = Window(1, START, START + HOUR, "bringup", "ann", None)
NOBODYS = Window(2, START, START + HOUR, None, "ann", "new cooling")


@pytest.mark.parametrize(
    ("now", "limit", "closed"),
    [
        (START - HOUR, HOUR, False),
        (START - HOUR, HOUR + timedelta(seconds=1), True),
        (START, timedelta(seconds=1), True),
        (START + HOUR - timedelta(seconds=1), timedelta(seconds=1), True),
        (START + HOUR, HOUR, False),
        (START - HOUR, HOUR * 9, True),
    ],
    ids=["ends as it starts", "reaches in", "at its start", "at its end", "after it", "across it"],
)
def test_a_job_of_another_project_must_have_ended_before_and_starts_behind(now, limit, closed):
    assert OURS.closed("nightly", now, now + limit) is closed
    assert NOBODYS.closed("nightly", now, now + limit) is closed


def test_a_job_of_the_project_runs_inside_and_where_no_project_is_named_nobody_does():
    assert not OURS.closed("bringup", START, START + HOUR * 9)
    assert NOBODYS.closed("bringup", START, START + timedelta(seconds=1))
