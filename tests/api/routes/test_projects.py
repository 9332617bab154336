import pytest
from builders.rows import a_job_row, a_slot_row, an_attempt

from api.client.client import ApiError
from orchestrator.model.states import AttemptState, JobState


@pytest.fixture
def queued(database) -> int:
    with database.write() as session:
        a_slot_row(session, "lab1.cpu0")
        return a_job_row(session).id


def test_a_queued_job_tells_everything_it_waits_for(http, queued):
    document = http.get(f"/jobs/{queued}/explain").json()

    assert document["job"]["id"] == queued
    kinds = [reason["kind"] for reason in document["reasons"]]
    assert kinds == ["dispatcher_away", "no_such_slot_alive", "worker_away"]
    assert document["reasons"][2]["slot_id"] == "lab1.cpu0"
    assert document["earliest_start"] is None


def test_an_ended_job_waits_for_nothing(client, database):
    with database.write() as session:
        job = a_job_row(session, state=JobState.SUCCEEDED)

    assert client.explain(job.id).reasons == ()


def test_an_unknown_job_is_not_explained(http):
    assert http.get("/jobs/4711/explain").status_code == 404


def test_a_weight_is_set_and_listed(client):
    made = client.set_weight("nightly", 2.5)

    assert (made.name, made.weight, made.used_slot_seconds) == ("nightly", 2.5, 0)
    assert [(project.name, project.weight) for project in client.projects()] == [("nightly", 2.5)]
    assert client.set_weight("nightly", 1).weight == 1


@pytest.mark.parametrize("weight", [0, -1, 1e9, "much", None])
def test_a_weight_that_is_none_is_refused(http, weight):
    answer = http.put("/projects/nightly", json={"weight": weight})

    assert (answer.status_code, answer.json()["field"]) == (422, "weight")
    assert http.get("/projects").json()["items"] == []


def test_a_project_of_a_name_that_no_job_may_have_is_refused(client):
    with pytest.raises(ApiError) as refused:
        client.set_weight("../x", 1)

    assert refused.value.status in (404, 422)


def test_an_ended_job_tells_every_attempt_and_that_its_kind_is_never_cached(client, database):
    with database.write() as session:
        job = a_job_row(session, state=JobState.SUCCEEDED, kind="infer")
        an_attempt(session, job=job, number=1, slot_id="lab1.g3", state=AttemptState.SUCCEEDED)

    found = client.explain(job.id)

    assert [(tried.number, tried.slot_id, tried.state) for tried in found.tries] == [(1, "lab1.g3", "succeeded")]
    assert (found.cache.outcome, found.cache.nearest, found.cache.changed) == ("never", None, ())
