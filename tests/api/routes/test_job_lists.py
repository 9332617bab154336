"""Lists of jobs that people keep, how many jobs fit, and where a job's inputs and outputs come from and go."""

import pytest
from builders import lifecycle
from builders.databases import both_databases
from builders.rows import A_DIGEST, an_artifact
from sqlalchemy import select

from api.client.client import ApiError
from api.documents.jobs import JobListRequest
from orchestrator.jobs import lists
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Attempt, Job, JobInput, JobList


@both_databases
def test_a_list_is_its_owners_in_every_browser(client, database):
    with database.write() as session:
        lists.keep(session, "eva", "hers", "state=failed", opens_first=True)

    client.keep_job_list("nightly", JobListRequest(query="project=nlp&state=failed", opens_first=True))
    client.keep_job_list("今天", JobListRequest(query="since=today", opens_first=True))

    kept = {each.name: each.opens_first for each in client.job_lists()}
    assert kept == {"nightly": False, "今天": True}
    client.delete_job_list("nightly")
    assert [each.name for each in client.job_lists()] == ["今天"]
    with database.read() as session:
        assert session.get(JobList, ("eva", "hers")).opens_first


def test_what_is_no_list_is_refused(http, database):
    assert http.put("/job-lists/x", json={"query": "a\r\nb"}).status_code == 422
    assert http.put(f"/job-lists/{'x' * 101}", json={"query": ""}).status_code == 422
    assert http.delete("/job-lists/none").status_code == 404
    with database.write() as session:
        session.add_all(
            JobList(owner="test", name=f"l{n}", query="", opens_first=False) for n in range(lists.MOST_LISTS)
        )
    answer = http.put("/job-lists/one-more", json={"query": ""})
    assert (answer.status_code, answer.json()["field"]) == (422, "name")


@pytest.fixture
def jobs(database):
    """Queued 1 and 2 (on hold), running 3, failed 4 with another release."""
    with database.write() as session:
        for state in (JobState.QUEUED, JobState.QUEUED, JobState.RUNNING, JobState.FAILED):
            lifecycle.a_job(session, state, project="nlp")
        held = session.get_one(Job, 2)
        held.held, held.hold = True, {"by": "eva", "note": None, "at": lifecycle.now().isoformat()}
        lifecycle.a_job(session, project="other")


@both_databases
def test_the_count_says_what_each_order_would_change(client, jobs):
    counted = client.count_jobs(project="nlp")

    assert (counted.matching, counted.ended) == (4, 1)
    assert counted.changed == {"cancel": 3, "stop": 0, "hold": 1, "unhold": 1, "priority": 2, "front": 2}
    assert client.count_jobs(state="failed").matching == 1


@both_databases
def test_jobs_are_found_by_release_failure_and_time(client, jobs, database):
    with database.read() as session:
        job = session.get_one(Job, 4)
        release, failure, at = job.release, job.failure["kind"], job.created_at

    assert failure == FailureKind.TOOL
    assert {job.id for job in client.jobs(failure="tool").items} == {4}
    assert client.jobs(failure="fault").items == ()
    assert len(client.jobs(release=release).items) == 5
    assert client.jobs(release="none").items == ()
    assert client.jobs(until=at.isoformat()).items[0].id < 4
    assert client.jobs(since=at.isoformat()).items[-1].id == 4


def test_an_order_is_given_to_all_that_fit(http, jobs, database):
    told = http.post("/jobs/actions", json={"action": "hold", "filter": {"q": "inf", "project": "nlp"}}).json()

    assert (told["done"], told["refused"]) == (1, 0)
    with database.read() as session:
        assert session.scalars(select(Job.id).where(Job.held).order_by(Job.id)).all() == [1, 2]
    assert http.post("/jobs/actions", json={"action": "hold", "filter": {}}).status_code == 422


@both_databases
def test_the_lineage_has_the_job_that_made_an_input_and_those_that_took_an_output(client, database):
    with database.write() as session:
        maker, user = lifecycle.a_job(session, JobState.SUCCEEDED), lifecycle.a_job(session)
        attempt = session.scalars(select(Attempt).where(Attempt.job_id == maker.id)).one()
        an_artifact(session, name="kcore", digest=A_DIGEST, job_id=maker.id, attempt_id=attempt.id)
        session.add(JobInput(job_id=user.id, name="kcore", digest=A_DIGEST, file_name="kcore.bin"))
        session.add(JobInput(job_id=user.id, name="prompts", digest="sha256:" + "b" * 64))

    made, used = client.lineage(user.id), client.lineage(maker.id)

    assert [(each.name, each.job and each.job.id) for each in made.inputs] == [("kcore", maker.id), ("prompts", None)]
    assert [(each.name, each.job.id) for each in used.used_by] == [("kcore", user.id)]
    with pytest.raises(ApiError):
        client.lineage(99)
