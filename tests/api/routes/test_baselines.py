"""Baselines as HTTP sees them."""

import pytest
from builders.ended import a_result

CELL = "model=qwen,prompts=basic"


@pytest.fixture
def jobs(database) -> list[int]:
    with database.write() as session:
        return [a_result(session, {"ttft": value}, ["四"]).job_id for value in (1.0, 1.2, 1.1, 2.0)]


def _order(jobs, /, **facts):
    return {"suite": "nightly", "cell": CELL, "jobs": jobs, "reason": "as delivered", **facts}


def test_a_baseline_is_set_shown_replaced_and_retired(http, jobs):
    made = http.post("/baselines", json=_order(jobs[:3]))
    number = made.json()["id"]
    again = http.post("/baselines", json=_order(jobs[3:]))
    new = http.post("/baselines", json=_order(jobs[3:], replaces=number, reason="accepted")).json()
    old = http.get(f"/baselines/{number}").json()
    retired = http.post(f"/baselines/{new['id']}/retire", json={"reason": "wrong prompts"}).json()

    assert made.headers["location"] == f"/api/v1/baselines/{number}"
    assert (made.status_code, made.json()["author"], made.json()["jobs"]) == (201, "test", jobs[:3])
    assert made.json()["metrics"] == [{"name": "ttft", "unit": "s", "definition": "ttft", "samples": [1.0, 1.2, 1.1]}]
    assert (again.status_code, again.json()["code"], again.json()["field"]) == (409, "already_exists", "replaces")
    assert (old["until"] is not None, old["ended_by"], old["ended_reason"]) == (True, "test", "accepted")
    assert (retired["ended_by"], retired["ended_reason"]) == ("test", "wrong prompts")
    assert http.get("/baselines", params={"suite": "nightly"}).json()["items"] == []
    ended = http.get("/baselines", params={"suite": "nightly", "cell": CELL, "ended": True}).json()["items"]
    assert [each["id"] for each in ended] == [new["id"], number]


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": None}, "reason"),
        ({"jobs": []}, None),
        ({"run": 1}, None),
        ({"jobs": [], "run": 0}, "run"),
        ({"jobs": [1, 1]}, "jobs"),
        ({"jobs": ["1"]}, "jobs.0"),
        ({"jobs": [2**70]}, "jobs.0"),
        ({"jobs": [4711]}, "jobs"),
        ({"suite": "../x"}, "suite"),
        ({"cell": "a b"}, "cell"),
        ({"cell": "x" * 801}, "cell"),
    ],
)
def test_what_cannot_be_a_baseline_is_refused_with_its_field(http, jobs, facts, field):
    answer = http.post("/baselines", json=_order(jobs, **facts))

    assert (answer.status_code, answer.json().get("field")) == (422, field)
    assert http.get("/baselines").json()["items"] == []


def test_a_retirement_needs_a_reason_and_a_baseline(http, jobs):
    made = http.post("/baselines", json=_order(jobs)).json()

    assert http.post(f"/baselines/{made['id']}/retire", json={}).status_code == 422
    assert http.post("/baselines/4711/retire", json={"reason": "r"}).status_code == 404
    assert http.get(f"/baselines/{made['id']}").json()["until"] is None
