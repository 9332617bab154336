"""What happened on card groups between two times, as HTTP sees it."""

from datetime import UTC, datetime, timedelta

import pytest
from builders.databases import both_databases
from builders.rows import A_MOMENT
from builders.timeline import a_lab

PAST = {"begin": "2026-03-01T11:00:00Z", "end": "2026-03-01T13:00:00Z"}


@pytest.fixture
def lab(database):
    a_lab(database)


@both_databases
def test_what_ran_between_two_times_is_answered_for_each_card_group(http, lab):
    found = http.get("/timeline", params=PAST).json()

    assert [lane["slot_id"] for lane in found["lanes"]] == ["lab1.g0", "lab1.g1"]
    assert found["lanes"][0]["spans"] == []
    assert [(span["kind"], span["state"]) for span in found["lanes"][1]["spans"]] == [
        ("ran", "failed"), ("ran", "succeeded"),
    ]  # fmt: skip
    assert http.get("/timeline", params={**PAST, "host": "other"}).json()["lanes"] == []


@both_databases
def test_an_attempt_across_the_end_of_the_window_is_found(http, lab):
    found = http.get("/timeline", params={**PAST, "end": "2026-03-01T12:04:00Z"}).json()

    assert [span["state"] for span in found["lanes"][1]["spans"]] == ["failed"]


@both_databases
def test_a_card_group_out_of_service_and_one_reserved_are_spans_too(http, lab):
    http.post("/slots/lab1.g1/drain", json={"note": "swap"})
    now = datetime.now(UTC)
    starts, ends = ((now + timedelta(hours=hours)).isoformat() for hours in (0.5, 1))
    http.post("/reservations", json={"slots": ["lab1.g1"], "starts_at": starts, "ends_at": ends})
    window = {"begin": (now - timedelta(hours=1)).isoformat(), "end": (now + timedelta(hours=2)).isoformat()}

    spans = http.get("/timeline", params=window).json()["lanes"][1]["spans"]

    assert {(span["kind"], span["state"]) for span in spans} == {("out", "drained"), ("reserved", "reserved")}
    assert [span["end"] is None for span in spans if span["kind"] == "out"] == [True]


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"end": PAST["begin"]}, "begin"),
        ({"end": "2026-09-01T00:00:00Z"}, "end"),
        ({"begin": "5"}, "begin"),
        ({"begin": "0001-01-01T00:00:00Z", "end": "0001-01-02T00:00:00Z"}, "begin"),
        ({"begin": "9999-12-30T00:00:00Z", "end": "9999-12-31T00:00:00Z"}, "end"),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(http, change, field):
    answer = http.get("/timeline", params={**PAST, **change})

    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_the_client_asks_for_a_window_of_one_host(client, lab):
    found = client.timeline(A_MOMENT, A_MOMENT + timedelta(hours=1), host="lab1")

    assert [len(lane.spans) for lane in found.lanes] == [0, 2]
