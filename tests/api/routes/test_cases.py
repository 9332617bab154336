"""Cases as HTTP sees them."""

from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.results.regressions import Interval, Worse
from orchestrator.suites import cases

LATER = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.fixture
def case(database) -> int:
    change = {"toolchain": {"before": ["sha256:1"], "after": ["sha256:2"]}}
    with database.write() as session:
        finding = Worse(frozenset({"ttft"}), change, (4, 5))
        (row,) = cases.note_worse(
            session, "nightly", "model=qwen", finding, Interval(1, 5), outcome="model_or_toolchain", confirmed=True,
            now=database.now(session),
        )  # fmt: skip
        return row.id


def test_a_case_is_listed_and_shown_with_its_series_and_its_trail(http, case):
    (listed,) = http.get("/cases", params={"suite": "nightly", "state": "confirmed"}).json()["items"]
    shown = http.get(f"/cases/{case}").json()

    assert (listed["id"], listed["state"], listed["first_bad_run"]) == (case, "confirmed", 5)
    assert listed["change"]["toolchain"]["after"] == ["sha256:2"]
    assert [(row["cell"], row["metric"], row["jobs"]) for row in shown["series"]] == [("model=qwen", "ttft", [4, 5])]
    assert [entry["to"] for entry in shown["entries"]] == ["opened", "confirmed"]
    assert http.get("/cases", params={"suite": "weekly"}).json()["items"] == []


def test_a_person_accepts_comments_closes_and_reopens_it_and_every_order_names_them(http, case):
    orders = [
        ("accept", {"until": LATER, "reason": "known", "link": "https://issues.example/7"}),
        ("comment", {"text": "driver 修复"}),
        ("close", {"reason": "fixed elsewhere"}),
        ("reopen", {"reason": "it was not"}),
    ]
    states = []
    for what, body in orders:
        answer = http.post(f"/cases/{case}/{what}", json=body)
        assert answer.status_code == 200
        states.append(answer.json()["state"])

    assert states == ["accepted", "accepted", "closed", "confirmed"]
    assert [entry["by"] for entry in answer.json()["entries"]] == [None, None, *["test"] * 4]
    assert answer.json()["link"] == "https://issues.example/7"


@pytest.mark.parametrize(
    ("what", "body", "status", "field"),
    [
        ("accept", {"until": LATER}, 422, "reason"),
        ("accept", {"until": "2020-01-01T00:00:00Z", "reason": "r"}, 422, "until"),
        ("accept", {"until": "2030-01-01T00:00:00", "reason": "r"}, 422, "until"),
        ("accept", {"until": LATER, "reason": "r", "link": "javascript:alert(1)"}, 422, "link"),
        ("close", {"reason": " "}, 422, "reason"),
        ("reopen", {"reason": "r"}, 409, None),
        ("comment", {}, 422, "text"),
    ],
)
def test_an_order_that_does_not_fit_is_refused_with_its_field_and_changes_nothing(
    http, case, what, body, status, field
):
    answer = http.post(f"/cases/{case}/{what}", json=body)

    assert (answer.status_code, answer.json().get("field")) == (status, field)
    assert len(http.get(f"/cases/{case}").json()["entries"]) == 2


def test_closed_cases_are_listed_only_when_asked_for(http, case):
    http.post(f"/cases/{case}/close", json={"reason": "r"})

    assert http.get("/cases").json()["items"] == []
    assert [each["id"] for each in http.get("/cases", params={"closed": True}).json()["items"]] == [case]
    assert http.post("/cases/4711/close", json={"reason": "r"}).status_code == 404
