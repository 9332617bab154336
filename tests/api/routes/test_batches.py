"""Batches, as HTTP sees them."""

from xml.etree import ElementTree

import pytest
from builders.rows import a_model, a_release, a_slot_row, an_artifact

from api.client.client import ApiError
from orchestrator.batches import lifecycle
from orchestrator.model.batches import BatchRequest
from orchestrator.model.orders import Action
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Job


@pytest.fixture
def spec(database, store) -> dict:
    """An inference that fits what is registered."""
    digest = store.put_bytes(b"x").digest
    with database.write() as session:
        a_release(session)
        model = a_model(session).name
        for name in ("kcore", "prompts"):
            an_artifact(session, name=name, digest=digest)
        for slot in ("lab1.g0", "lab1.g1"):
            a_slot_row(session, slot, worker="w", heartbeat_at=database.now(session))
    return {"kind": "infer", "model": model, "kcore": {"digest": digest}, "prompts": {"digest": digest}}


@pytest.fixture
def batch(http, spec) -> dict:
    body = {"name": "stress", "stop_on": "sticky_fault", "template": {"spec": spec}, "times": 2}
    return http.post("/batches", json=body).json()


def test_a_batch_is_made_and_can_be_looked_at_and_its_jobs_listed(http, batch):
    shown = http.get(f"/batches/{batch['id']}").json()
    jobs = http.get("/jobs", params={"batch": batch["id"]}).json()["items"]

    assert (batch["state"], batch["size"], batch["counts"]) == ("running", 4, {"queued": 4})
    assert (shown["stop_on"], shown["faults"], shown["slots"]) == ("sticky_fault", 0, [])
    assert http.get(f"/batches/{batch['id']}/progress").json() == batch
    assert {job["slot"] for job in jobs} == {"lab1.g0", "lab1.g1"}
    assert {job["batch_id"] for job in jobs} == {batch["id"]}


def test_the_answer_says_where_the_batch_is_and_the_same_key_makes_no_other(http, spec):
    body = {"name": "stress", "jobs": [{"spec": spec}]}

    first = http.post("/batches", json=body, headers={"Idempotency-Key": "k"})
    again = http.post("/batches", json=body, headers={"Idempotency-Key": "k"})

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.headers["Location"].endswith(f"/batches/{first.json()['id']}")
    assert again.json()["id"] == first.json()["id"]
    assert again.headers["Idempotent-Replay"] == "true"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"template": {"spec": {"kind": "infer"}}}, "template.spec.model"),
        ({"times": 0}, "times"),
        ({"times": 10_001}, "times"),
        ({"slots": ["../../etc"]}, "slots.0"),
        ({"slots": ["g9"]}, "slots.0"),
        ({"name": "--rm"}, "name"),
        ({"name": "压力"}, "name"),
        ({"stop_on": "always"}, "stop_on"),
        ({"surprise": 1}, "surprise"),
        ({"jobs": []}, "jobs"),
    ],
)
def test_a_batch_that_is_none_is_refused_with_its_field(http, spec, change, field):
    answer = http.post("/batches", json={"name": "s", "template": {"spec": spec}, **change})

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert http.get("/batches").json()["items"] == []


def test_batches_are_listed_newest_first_page_by_page(http, spec):
    for name in ("a", "b", "c"):
        http.post("/batches", json={"name": name, "jobs": [{"spec": spec}]})

    first = http.get("/batches", params={"limit": 2}).json()
    second = http.get("/batches", params={"limit": 2, "cursor": first["next"]}).json()

    assert [batch["name"] for batch in first["items"] + second["items"]] == ["c", "b", "a"]
    assert second["next"] is None
    assert [each["name"] for each in http.get("/batches", params={"name": "b"}).json()["items"]] == ["b"]


def test_all_jobs_of_a_batch_are_held_released_moved_and_cancelled_at_once(http, batch):
    address = f"/batches/{batch['id']}"

    reports = [
        http.post(f"{address}/hold", json={"note": "新驱动"}).json(),
        http.post(f"{address}/unhold").json(),
        http.post(f"{address}/priority", json={"priority": 9}).json(),
        http.post(f"{address}/front").json(),
        http.post(f"{address}/cancel", json={"note": "wrong kcore"}).json(),
    ]

    assert [(report["done"], report["refused"]) for report in reports] == [(4, 0)] * 5
    jobs = http.get("/jobs", params={"batch": batch["id"]}).json()["items"]
    assert {(job["state"], job["priority"], job["failure"]["reason"]) for job in jobs} == {
        ("cancelled", 9, "cancelled by test: wrong kcore")
    }
    assert http.get(f"{address}/progress").json()["state"] == "cancelled"


def test_a_bulk_order_takes_the_jobs_of_a_batch_as_a_filter(http, batch):
    report = http.post("/jobs/actions", json={"action": "hold", "filter": {"batch": batch["id"]}}).json()

    assert report["done"] == 4


def test_what_is_not_there_is_not_found(http):
    answers = [http.get("/batches/9"), http.get("/batches/9/junit"), http.post("/batches/9/cancel")]

    assert [answer.status_code for answer in answers] == [404] * 3
    assert "no batch 9" in answers[0].json()["detail"]


def test_junit_is_xml_with_every_job(http, batch):
    answer = http.get(f"/batches/{batch['id']}/junit")

    assert answer.headers["Content-Type"] == "application/xml"
    assert ElementTree.fromstring(answer.content)[0].get("tests") == "4"


def test_the_client_submits_follows_and_orders_and_hears_the_batch_end(client, database, spec):
    request = BatchRequest.model_validate({"name": "stress", "jobs": [{"spec": spec}]})
    made = client.batches.submit(request, key="k")
    events = client.events(0, batch=made.id)

    report = client.batches.order(made.id, Action.CANCEL, note="enough")
    with database.write() as session:
        lifecycle.advance(session, now=database.now(session))

    kinds = [next(events).kind for _ in range(5)]
    assert report.done == 1
    assert kinds == ["batch.created", "job.created", "job.queued", "job.cancelled", "batch.ended"]
    assert client.batches.show(made.id).counts == {JobState.CANCELLED: 1}
    assert [found.id for found in client.batches.page().items] == [made.id]
    assert b"testsuite" in b"".join(client.batches.junit(made.id))
    assert client.batches.matrix(made.id).unplaced == 1
    with pytest.raises(ApiError, match="no batch"):
        client.batches.progress(made.id + 1)


def test_a_job_says_to_which_batch_it_belongs(http, database, batch):
    with database.read() as session:
        number = session.query(Job.id).filter(Job.batch_id == batch["id"]).limit(1).scalar()

    assert http.get(f"/jobs/{number}").json()["batch_id"] == batch["id"]
