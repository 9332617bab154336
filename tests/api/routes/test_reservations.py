"""Reservations as HTTP sees them."""

from datetime import UTC, datetime, timedelta

import pytest
from builders.rows import a_job_row, a_slot_row, an_attempt

from api.client.client import ApiError
from orchestrator.model.reservations import ReservationRequest
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.tables import Lease

HOUR = timedelta(hours=1)


@pytest.fixture
def slots(database) -> list[str]:
    with database.write() as session:
        return [a_slot_row(session, name).id for name in ("lab1.g2", "lab1.g3")]


def later(hours: float) -> str:
    return (datetime.now(UTC) + HOUR * hours).isoformat()


def test_a_reservation_is_made_listed_shown_on_the_slot_and_given_back(http, slots):
    body = {"slots": ["lab1.g3"], "seconds": 3600, "note": "新固件", "project": "bringup"}

    made = http.post("/reservations", json=body)
    number = made.json()["id"]
    on_slot = http.get("/slots/lab1.g3").json()["reservation"]
    listed = http.get("/reservations").json()["items"]
    ended = http.post(f"/reservations/{number}/cancel", json={"note": "done"}).json()

    assert (made.status_code, made.json()["state"], made.json()["by"]) == (201, "current", "test")
    assert (on_slot["reservation_id"], on_slot["by"], on_slot["note"]) == (number, "test", "新固件")
    assert [each["id"] for each in listed] == [number]
    assert (ended["state"], ended["cancelled"]["by"], ended["cancelled"]["note"]) == ("cancelled", "test", "done")
    assert http.get("/reservations").json()["items"] == []
    assert http.get("/reservations", params={"past": True}).json()["items"] == [
        http.get(f"/reservations/{number}").json()
    ]
    assert http.get("/slots/lab1.g3").json()["reservation"] is None


def test_a_slot_shows_the_reservation_that_comes_next(client, slots):
    for hours in (5, 2):
        client.reservations.make(
            ReservationRequest.model_validate({"slots": ["lab1.g2"], "starts_at": later(hours), "seconds": 60})
        )

    shown = {slot.id: slot.reservation for slot in client.slots()}

    assert shown["lab1.g2"].starts_at < datetime.now(UTC) + HOUR * 3
    assert shown["lab1.g3"] is None


def test_the_answer_tells_what_goes_on_and_until_when(http, database, slots):
    with database.write() as session:
        job = a_job_row(session, state=JobState.RUNNING, run_seconds=7200)
        attempt = an_attempt(session, job=job, slot_id="lab1.g0", started_at=database.now(session))
        session.add(Lease(slot_id="lab1.g0", attempt_id=attempt.id, expires_at=attempt.started_at))
        until = attempt.started_at + timedelta(seconds=7200)

    made = http.post("/reservations", json={"hosts": ["lab1"], "starts_at": later(1), "seconds": 60}).json()

    assert made["slots"] == ["lab1.g0", *slots]
    (reaching,) = made["reaching"]
    assert (reaching["job_id"], reaching["slot_id"]) == (job.id, "lab1.g0")
    assert datetime.fromisoformat(reaching["until"]) == until
    assert http.get(f"/jobs/{job.id}").json()["attempts"][0]["state"] == AttemptState.RUNNING


def test_what_overlaps_is_a_conflict_that_names_the_other(http, slots):
    first = http.post("/reservations", json={"slots": ["lab1.g3"], "seconds": 3600}).json()

    answer = http.post("/reservations", json={"hosts": ["lab1"], "seconds": 60})

    assert (answer.status_code, answer.json()["code"], answer.json()["field"]) == (409, "already_reserved", "slots")
    assert f"tx81 unreserve {first['id']}" in answer.json()["detail"]
    assert len(http.get("/reservations").json()["items"]) == 1


@pytest.mark.parametrize(
    ("body", "status", "field", "told"),
    [
        ({"slots": ["lab1.g9"], "seconds": 60}, 404, "slots", "lab1.g9"),
        ({"hosts": ["lab9"], "seconds": 60}, 404, "hosts", "lab9"),
        ({"slots": ["../../etc"], "seconds": 60}, 422, "slots.0", "a name is"),
        ({"slots": ["lab1.g3"], "ends_at": "2020-01-01T00:00:00Z"}, 422, "ends_at", "in the past"),
        ({"slots": ["lab1.g3"], "ends_at": "2030-01-01T00:00:00"}, 422, "ends_at", "zone"),
        ({"slots": ["lab1.g3"], "ends_at": 1e300}, 422, "ends_at", "too large"),
        ({"slots": ["lab1.g3"], "seconds": 60, "note": "x" * 501}, 422, "note", "500"),
        ({"slots": ["lab1.g3"]}, 422, None, "ends_at or seconds"),
        ({}, 422, None, "name the slots"),
    ],
)
def test_what_can_not_be_reserved_is_refused_with_its_field(http, slots, body, status, field, told):
    answer = http.post("/reservations", json=body)

    assert (answer.status_code, answer.json().get("field")) == (status, field)
    assert told in answer.json()["detail"]
    assert http.get("/reservations", params={"past": True}).json()["items"] == []


def test_a_reservation_that_is_not_there_is_not_found(client):
    with pytest.raises(ApiError) as refused:
        client.reservations.cancel(4711)

    assert refused.value.status == 404


def test_reservations_come_in_pages(client, slots):
    for hours in range(3):
        request = {"slots": ["lab1.g3"], "starts_at": later(hours + 1), "seconds": 60}
        client.reservations.make(ReservationRequest.model_validate(request))

    first = client.reservations.page(limit=2)
    rest = client.reservations.page(limit=2, cursor=first.next)

    assert [len(first.items), len(rest.items), rest.next] == [2, 1, None]
    assert len({made.id for made in (*first.items, *rest.items)}) == 3
