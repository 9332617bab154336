"""Logs by lines: windows, searches, and the first line that says what went wrong."""

import pytest
from builders import lifecycle

from orchestrator.model.failures import Failure, FailureKind
from orchestrator.storage import live_logs
from orchestrator.storage.tables import Attempt

TEXT = "loading\nlayer 3 of 48\nWarning: slow\nTX81 card hung\nRuntimeError: no memory\n"


@pytest.fixture
def attempt(database) -> int:
    """The running attempt of job 1."""
    with database.write() as session:
        lifecycle.a_slot(session, "g0")
        tried = lifecycle.a_running_attempt(session)
        live_logs.append(session, tried.id, 0, TEXT.encode())
        return tried.id


def test_lines_are_given_by_their_numbers(client, attempt):
    window = client.log_lines(1, from_line=2, limit=2)

    assert (window.attempt, window.state, window.total) == (1, "running", 5)
    assert [(line.number, line.text) for line in window.items] == [(2, "layer 3 of 48"), (3, "Warning: slow")]
    assert [line.number for line in client.log_lines(1, limit=2).items] == [4, 5]
    assert [line.number for line in client.log_lines(1, before=3).items] == [1, 2]


def test_a_log_is_searched_on_the_server(client, attempt):
    assert client.search_log(1, "ERROR").numbers == (5,)
    assert client.search_log(1, "ERROR", case=True).matches == 0
    assert client.search_log(1, r"^\w+ \d of", regex=True).numbers == (2,)


def test_a_search_that_makes_no_sense_is_refused(http, attempt):
    for asked in ("q=(&regex=true", "q=", "q=a%0Ab", "", "q=a&near=0", f"q={'a' * 501}"):
        assert http.get(f"/jobs/1/log/search?{asked}").status_code == 422, asked


def test_the_first_error_is_what_the_signature_of_the_failure_matches(client, attempt, database):
    assert client.first_error(1).number == 5

    with database.write() as session:
        failure = Failure(kind=FailureKind.FAULT, reason="busy", signature="device_busy")
        session.get_one(Attempt, attempt).failure = failure.model_dump(mode="json")
        live_logs.append(session, attempt, len(TEXT), b"Device or resource busy\n")

    found = client.first_error(1)
    assert (found.number, found.pattern) == (6, "Device or resource busy")


def test_a_log_without_an_error_has_no_first_one(client, database):
    with database.write() as session:
        lifecycle.a_slot(session, "g0")
        lifecycle.a_running_attempt(session)

    assert client.first_error(1).number is None
