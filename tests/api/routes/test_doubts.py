"""Doubts as HTTP sees them."""

import pytest
from builders.rows import a_job_row, a_slot_row, an_attempt

from orchestrator.model.doubts import DoubtReason
from orchestrator.model.states import AttemptState, JobState
from orchestrator.slots import doubt


@pytest.fixture
def doubted(database) -> list[int]:
    """Two jobs with results that are in doubt."""
    with database.write() as session:
        a_slot_row(session, "lab1.g3")
        jobs = [a_job_row(session, state=JobState.SUCCEEDED, name=f"j{number}") for number in range(2)]
        for job in jobs:
            an_attempt(session, job, slot_id="lab1.g3", state=AttemptState.SUCCEEDED)
        evidence = {"reason": "1 of 2 answers are not the golden ones", "job_id": 77}
        doubt.doubt_since_last_proof(session, "lab1.g3", DoubtReason.CANARY_FAILED, evidence, database.now(session))
        return [job.id for job in jobs]


def test_a_job_in_doubt_shows_why_its_results_are_not_used(http, doubted):
    shown = http.get(f"/jobs/{doubted[0]}").json()["doubt"]

    assert (shown["reason"], shown["slot_id"], shown["lifted"]) == ("canary_failed", "lab1.g3", None)
    assert shown["evidence"]["job_id"] == 77


def test_doubts_come_in_pages_and_can_be_narrowed(http, doubted):
    first = http.get("/doubts", params={"limit": 1}).json()
    rest = http.get("/doubts", params={"limit": 1, "cursor": first["next"]}).json()

    assert [page["items"][0]["job_id"] for page in (first, rest)] == doubted[::-1]
    assert rest["next"] is None
    assert [each["job_name"] for each in http.get("/doubts", params={"job": doubted[0]}).json()["items"]] == ["j0"]
    assert http.get("/doubts", params={"slot": "lab1.g4"}).json()["items"] == []


def test_a_lifted_doubt_says_who_and_why_and_the_result_is_used_again(http, doubted):
    lifted = http.post("/doubts/lift", json={"job": doubted[0], "note": "cable replaced"})

    assert lifted.status_code == 200
    (one,) = lifted.json()["items"]
    assert (one["job_id"], one["lifted"]["by"], one["lifted"]["note"]) == (doubted[0], "test", "cable replaced")
    assert http.get(f"/jobs/{doubted[0]}").json()["doubt"] is None
    assert [each["job_id"] for each in http.get("/doubts").json()["items"]] == [doubted[1]]
    assert len(http.get("/doubts", params={"lifted": True}).json()["items"]) == 2
    assert http.get(f"/jobs/{doubted[0]}/events").json()["items"][-1]["kind"] == "doubt.lifted"


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"job": 1}, 422, "note"),
        ({"job": 1, "note": "  \u0000"}, 422, None),
        ({"note": "n"}, 422, None),
        ({"doubts": [0], "note": "n"}, 422, None),
        ({"doubts": [2**70], "note": "n"}, 422, None),
        ({"doubts": [4711], "note": "n"}, 404, "doubts"),
        ({"slot": "lab1.g9", "note": "n"}, 409, None),
    ],
)
def test_an_order_to_lift_that_fits_nothing_is_refused_and_changes_nothing(http, doubted, body, status, field):
    answer = http.post("/doubts/lift", json=body)

    assert answer.status_code == status
    assert field is None or answer.json()["field"] == field
    assert len(http.get("/doubts").json()["items"]) == 2
