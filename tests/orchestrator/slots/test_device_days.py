"""What the time of a slot went into: by day of the viewer, and by the outcome of the attempts."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from builders.rows import a_job_row, a_slot_row, an_attempt

from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import AttemptState
from orchestrator.slots.device_days import device_days
from orchestrator.storage.database import Database

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def _ran(session, began: datetime, hours: float, state: AttemptState = AttemptState.SUCCEEDED, **facts) -> None:
    kind = facts.pop("kind", "infer")
    job = a_job_row(session, kind=kind)
    an_attempt(session, job, state=state, started_at=began, ended_at=began + hours * HOUR, **facts)


def test_each_day_has_what_became_of_its_time(database: Database):
    fault = Failure(kind=FailureKind.FAULT, reason="gone").model_dump(mode="json")
    with database.write() as session:
        slot = a_slot_row(session)
        _ran(session, datetime(2026, 3, 10, 1, tzinfo=UTC), 2)
        _ran(session, datetime(2026, 3, 10, 4, tzinfo=UTC), 1, AttemptState.CANCELLED)
        _ran(session, datetime(2026, 3, 10, 6, tzinfo=UTC), 0.5, AttemptState.FAILED, failure=fault)
        _ran(session, datetime(2026, 3, 10, 8, tzinfo=UTC), 0.25, kind="canary")
        _ran(session, datetime(2026, 3, 8, 23, tzinfo=UTC), 2)

        days = device_days(session, slot.id, now=NOW, days=3, zone=UTC)

    assert [(day.day.day, day.succeeded, day.failed, day.faults, day.canaries) for day in days] == [
        (8, 3600, 0, 0, 0),
        (9, 3600, 0, 0, 0),
        (10, 7200, 3600, 1800, 900),
    ]


def test_days_begin_at_the_midnight_of_the_zone(database: Database):
    with database.write() as session:
        slot = a_slot_row(session)
        _ran(session, datetime(2026, 3, 9, 15, 30, tzinfo=UTC), 1)  # across midnight in Shanghai

        days = device_days(session, slot.id, now=NOW, days=2, zone=ZoneInfo("Asia/Shanghai"))

    assert [(str(day.day), day.succeeded) for day in days] == [("2026-03-09", 1800), ("2026-03-10", 1800)]
