"""Who submitted what: named by jobs, pipelines, batches and their events, and a filter of their lists."""

import pytest
from builders.rows import a_job_row, a_model, a_release
from fastapi import FastAPI
from sqlalchemy import select
from starlette.testclient import TestClient

from orchestrator import tokens
from orchestrator.model.scopes import Scope
from orchestrator.storage.tables import Event, Job

QUANTIZE = {"spec": {"kind": "quantize", "model": "tiny"}, "use_cache": False}


@pytest.fixture
def alice(app: FastAPI, database) -> TestClient:
    with database.write() as session:
        a_release(session)
        a_model(session, "tiny")
    return _as(app, tokens.make(database, "alice", (Scope.SUBMITTER,)))


def _as(app: FastAPI, token: str) -> TestClient:
    headers = {"Authorization": f"Bearer {token}"}
    return TestClient(app, base_url="http://testserver/api/v1", headers=headers)


def _submitted(client: TestClient) -> dict[str, dict]:
    pipeline = client.post("/pipelines", json={"name": "p", "jobs": {"q": QUANTIZE}}).json()
    batch = client.post("/batches", json={"name": "b", "jobs": [QUANTIZE]}).json()
    return {"jobs": client.post("/jobs", json=QUANTIZE).json(), "pipelines": pipeline, "batches": batch}


def test_what_is_submitted_names_the_token_it_was_submitted_with(alice, database):
    made = _submitted(alice)
    bulk = alice.post("/jobs/bulk", json={"jobs": [QUANTIZE] * 2}).json()["items"]

    assert {document["submitted_by"] for document in (*made.values(), *bulk)} == {"alice"}
    with database.read() as session:
        assert set(session.scalars(select(Job.submitted_by))) == {"alice"}
        created = session.scalars(select(Event.data).where(Event.kind.in_(["job.created", "batch.created"]))).all()
    assert {data["by"] for data in created} == {"alice"}


@pytest.mark.parametrize("what", ["jobs", "pipelines", "batches"])
def test_a_list_is_narrowed_to_one_submitter(alice, http, what):
    mine, other = _submitted(alice)[what], _submitted(http)[what]

    listed = [item["id"] for item in alice.get(f"/{what}", params={"submitted_by": "alice"}).json()["items"]]

    assert mine["id"] in listed
    assert other["id"] not in listed


@pytest.mark.parametrize("what", ["jobs", "pipelines", "batches"])
def test_a_list_begins_at_a_moment(alice, what):
    made = _submitted(alice)[what]

    since = [alice.get(f"/{what}", params={"since": moment}) for moment in (made["created_at"], "2999-01-01T00:00Z")]

    assert [bool(answer.json()["items"]) for answer in since] == [True, False]
    assert alice.get(f"/{what}", params={"since": "yesterday"}).status_code == 422


def test_a_retry_belongs_to_who_retries_it(alice, http):
    first = http.post("/jobs", json=QUANTIZE).json()["id"]
    http.post(f"/jobs/{first}/cancel")

    again = alice.post(f"/jobs/{first}/retry").json()

    assert again["submitted_by"] == "alice"


def test_an_explanation_names_who_submitted_the_job(alice):
    job = alice.post("/jobs", json=QUANTIZE).json()["id"]

    past = alice.get(f"/jobs/{job}/explain").json()["past"]

    assert ("submitted", "by alice") in [(told["about"], told["why"]) for told in past]


def test_a_job_that_names_nobody_is_listed_without_a_name(http, database):
    with database.write() as session:
        old = a_job_row(session).id

    assert http.get(f"/jobs/{old}").json()["submitted_by"] is None


def test_a_token_says_whose_it_is(alice):
    assert alice.get("/whoami").json() == {"name": "alice", "scopes": ["submitter"]}


def test_a_rotated_token_keeps_name_and_scope_and_its_old_value_is_refused(app, http, database):
    old = http.post("/tokens", json={"name": "ci", "scope": "submitter"}).json()["token"]

    made = http.post("/tokens/ci/rotate")

    fresh = made.json()["token"]
    assert (made.status_code, fresh != old) == (200, True)
    assert _as(app, fresh).get("/whoami").json() == {"name": "ci", "scopes": ["submitter"]}
    assert _as(app, old).get("/whoami").status_code == 401
    with database.read() as session:
        told = session.scalars(select(Event.data).where(Event.kind == "token.rotated")).one()
    assert told == {"name": "ci", "by": "test"}


def test_a_revoked_or_unknown_token_is_not_rotated(http):
    http.post("/tokens", json={"name": "gone", "scope": "viewer"})
    http.delete("/tokens/gone")

    refused = [http.post(f"/tokens/{name}/rotate") for name in ("gone", "nobody")]

    assert [answer.status_code for answer in refused] == [409, 404]
