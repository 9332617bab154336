import pytest
from builders.desk import Desk, a_desk
from builders.lifecycle import a_running_attempt, a_slot, finish
from builders.rows import an_artifact

from orchestrator.storage.tables import Answer, Job


@pytest.fixture
def wrong(database, store, tmp_path) -> int:
    """A job on g3 with one wrong answer; g0 is there too."""
    desk: Desk = a_desk(database, store, tmp_path)
    job = desk.submit(desk.infer())
    with database.write() as session:
        a_slot(session, "g0")
        attempt = a_running_attempt(session, session.get_one(Job, job), a_slot(session, "g3"))
        session.add(Answer(attempt_id=attempt.id, repeat=0, index=0, question="q", text="x", golden="y", exact=False))
        finish(session, attempt)
        an_artifact(session)
    return job


def test_a_triage_is_started_once_and_shown(http, wrong):
    key = {"Idempotency-Key": "k"}

    made, again = (http.post(f"/jobs/{wrong}/triage", json={"repeats": 3}, headers=key) for _ in range(2))

    assert (made.status_code, again.status_code) == (201, 200)
    shown = made.json()
    assert again.json() == shown == http.get(made.headers["location"].removeprefix("/api/v1")).json()
    assert (shown["state"], shown["verdict"], shown["slot_id"]) == ("running", None, "lab1.g3")
    assert [len(cell["runs"]) for cell in shown["cells"]] == [3, 0]
    assert shown["observed"]["outcome"] == "wrong"


def test_what_cannot_be_triaged_is_refused_with_its_reason(http, wrong):
    assert http.post("/jobs/99/triage", json={}).status_code == 404
    assert http.get("/triages/99").status_code == 404
    assert http.post(f"/jobs/{wrong}/triage", json={"repeats": 0}).json()["field"] == "repeats"
