"""What people order of jobs and slots, as HTTP sees it."""

from datetime import timedelta

import pytest
from builders.rows import A_DIGEST, A_MOMENT, a_job_row, a_slot_row, an_attempt

from api.client.client import ApiError
from orchestrator.model.batches import StopOn
from orchestrator.model.orders import Action, BulkOrder
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.slots import service
from orchestrator.storage.tables import Batch, Job, Lease, Pipeline


def jobs(database, *states: JobState, **facts) -> list[int]:
    with database.write() as session:
        return [a_job_row(session, state=state, **facts).id for state in states]


def a_pipeline(database, *states: JobState) -> tuple[int, list[int]]:
    with database.write() as session:
        pipeline = Pipeline(name="p", project="default", created_at=A_MOMENT)
        session.add(pipeline)
        session.flush()
        return pipeline.id, [a_job_row(session, state=state, pipeline_id=pipeline.id).id for state in states]


def the_slot(database, **facts) -> str:
    with database.write() as session:
        return a_slot_row(session, "lab1.g3", worker="w", heartbeat_at=database.now(session), **facts).id


# ── jobs ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_hold_shows_on_the_job_with_the_name_of_the_token_and_is_undone_by_an_unhold(http, database):
    (job,) = jobs(database, JobState.QUEUED)

    held = http.post(f"/jobs/{job}/hold", json={"note": "等新的 kcore"}).json()
    released = http.post(f"/jobs/{job}/unhold").json()

    assert (held["state"], held["held"]) == ("queued", True)
    assert (held["hold"]["by"], held["hold"]["note"]) == ("test", "等新的 kcore")
    assert (released["held"], released["hold"]) == (False, None)
    assert [event["kind"] for event in http.get(f"/jobs/{job}/events").json()["items"]] == ["job.held", "job.released"]


def test_a_job_gets_another_priority_and_the_front_of_it(http, database):
    (job,) = jobs(database, JobState.QUEUED)

    urgent = http.post(f"/jobs/{job}/priority", json={"priority": 9}).json()
    first = http.post(f"/jobs/{job}/front").json()

    assert (urgent["priority"], urgent["rank"]) == (9, 0)
    assert first["rank"] < 0
    assert first["version"] == urgent["version"] + 1


@pytest.mark.parametrize(
    ("body", "field", "told"),
    [
        ({"priority": 10}, "priority", "at most 9"),
        ({"priority": -1}, "priority", "at least 0"),
        ({"priority": "high"}, "priority", "integer"),
        ({}, "priority", "is missing"),
        ({"priority": 5, "urgent": True}, "urgent", "unknown field"),
        ({"priority": 5, "note": "x" * 501}, "note", "500"),
    ],
)
def test_a_priority_that_is_none_is_refused_with_its_field(http, database, body, field, told):
    (job,) = jobs(database, JobState.QUEUED)

    answer = http.post(f"/jobs/{job}/priority", json=body)

    assert (answer.status_code, answer.json()["field"]) == (422, field)
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert told in answer.json()["detail"]


@pytest.mark.parametrize(
    ("order", "state"),
    [
        ("hold", JobState.RUNNING),
        ("hold", JobState.SUCCEEDED),
        ("unhold", JobState.FAILED),
        ("priority", JobState.RUNNING),
        ("front", JobState.CANCELLED),
    ],
)
def test_an_order_that_comes_too_late_is_a_conflict_that_names_the_state(http, database, order, state):
    (job,) = jobs(database, state)

    answer = http.post(f"/jobs/{job}/{order}", json={"priority": 1} if order == "priority" else {})

    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")
    assert state in answer.json()["detail"]


@pytest.mark.parametrize("order", ["hold", "unhold", "priority", "front"])
def test_an_order_for_a_job_that_is_not_there_is_not_found(http, database, order):
    answer = http.post(f"/jobs/4711/{order}", json={"priority": 1} if order == "priority" else {})

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_a_job_is_held_only_as_it_was_seen(http, database):
    (job,) = jobs(database, JobState.QUEUED)
    seen = http.get(f"/jobs/{job}").headers["ETag"]
    http.post(f"/jobs/{job}/front")

    stale = http.post(f"/jobs/{job}/hold", headers={"If-Match": seen})

    assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
    with database.read() as session:
        assert not session.get_one(Job, job).held


# ── who ordered it, and why ──────────────────────────────────────────────────────────────────────────────────────────


NOTE = "wrong model"
EVENTS = {
    "cancel": "job.cancelled",
    "hold": "job.held",
    "unhold": "job.released",
    "release": "job.released",
    "priority": "job.reprioritised",
    "front": "job.moved_to_front",
}


def to_order(database, order: str, pipeline=None, batch=None) -> int:
    """A queued job that the order changes."""
    with database.write() as session:
        job = a_job_row(session, state=JobState.QUEUED, pipeline_id=pipeline, batch_id=batch)
        if order in ("unhold", "release"):
            job.held, job.hold = True, {"by": "bob", "note": None, "at": A_MOMENT.isoformat()}
        return job.id


def a_body(order: str) -> dict:
    return {"note": NOTE, **({"priority": 9} if order == "priority" else {})}


def a_sealed_batch(database) -> int:
    with database.write() as session:
        batch = Batch(
            name="b", project="default", size=1, stop_on=StopOn.NEVER, created_at=A_MOMENT, touched_at=A_MOMENT,
            sealed_at=A_MOMENT, left_out={},
        )  # fmt: skip
        session.add(batch)
        session.flush()
        return batch.id


def who_and_why(http, job: int, kind: str) -> list[tuple]:
    events = http.get(f"/jobs/{job}/events").json()["items"]
    return [(event["data"]["by"], event["data"]["why"]) for event in events if event["kind"] == kind]


@pytest.mark.parametrize("order", sorted(EVENTS))
def test_an_order_for_one_job_says_who_and_why_in_its_event(http, database, order):
    job = to_order(database, order)

    answer = http.post(f"/jobs/{job}/{order}", json=a_body(order))

    assert answer.status_code == 200
    assert who_and_why(http, job, EVENTS[order]) == [("test", NOTE)]


@pytest.mark.parametrize("order", sorted(EVENTS))
@pytest.mark.parametrize("choice", ["jobs", "filter"])
def test_an_order_for_many_jobs_says_who_and_why_in_every_event(http, database, order, choice):
    one, other = to_order(database, order), to_order(database, order)
    chosen = {"jobs": [one, other]} if choice == "jobs" else {"filter": {"kind": "quantize"}}

    answer = http.post("/jobs/actions", json={"action": order, **a_body(order), **chosen})

    assert answer.json()["done"] == 2
    assert [who_and_why(http, job, EVENTS[order]) for job in (one, other)] == [[("test", NOTE)]] * 2


@pytest.mark.parametrize("order", sorted(EVENTS))
def test_an_order_for_a_pipeline_says_who_and_why_in_every_event(http, database, order):
    pipeline, _ = a_pipeline(database)
    job = to_order(database, order, pipeline=pipeline)

    answer = http.post(f"/pipelines/{pipeline}/{order}", json=a_body(order))

    assert answer.status_code == 200
    assert who_and_why(http, job, EVENTS[order]) == [("test", NOTE)]


@pytest.mark.parametrize("order", sorted(EVENTS))
def test_an_order_for_a_batch_says_who_and_why_in_every_event(http, database, order):
    batch = a_sealed_batch(database)
    job = to_order(database, order, batch=batch)

    answer = http.post(f"/batches/{batch}/{order}", json=a_body(order))

    assert answer.json()["done"] == 1
    assert who_and_why(http, job, EVENTS[order]) == [("test", NOTE)]


@pytest.mark.parametrize("thing", ["pipelines", "batches"])
def test_the_servers_of_a_pipeline_or_a_batch_are_stopped_and_its_other_jobs_refused(http, database, thing):
    number = a_pipeline(database)[0] if thing == "pipelines" else a_sealed_batch(database)
    other = to_order(database, "stop", **{thing.removesuffix("s").replace("batche", "batch"): number})
    with database.write() as session:
        request = {"spec": {"kind": "serve", "model": "some-model", "kcore": {"digest": A_DIGEST}}}
        of_it = {"pipeline_id": number} if thing == "pipelines" else {"batch_id": number}
        server = a_job_row(session, state=JobState.RUNNING, name="server", request=request, **of_it).id

    report = http.post(f"/{thing}/{number}/stop", json={"note": NOTE}).json()

    assert {item["job"]: item["code"] for item in report["items"]} == {other: "illegal_transition", server: None}
    assert who_and_why(http, server, "job.stop_requested") == [("test", NOTE)]


def test_a_cancelled_job_shows_and_explains_who_cancelled_it_and_why(http, database):
    (job,) = jobs(database, JobState.QUEUED)

    cancelled = http.post(f"/jobs/{job}/cancel", json={"note": NOTE}).json()
    shown = http.get(f"/jobs/{job}").json()
    past = http.get(f"/jobs/{job}/explain").json()["past"]

    assert cancelled["failure"]["reason"] == "cancelled by test: wrong model"
    assert (shown["cancel"]["by"], shown["cancel"]["why"]) == ("test", NOTE)
    assert [each["why"] for each in past if each["about"] == "ended"] == ["cancelled by test: wrong model"]


def test_a_running_job_shows_who_asked_to_cancel_it_before_it_has_ended(http, database):
    (job,) = jobs(database, JobState.RUNNING)

    asked = http.post(f"/jobs/{job}/cancel", json={"note": NOTE}).json()

    assert (asked["state"], asked["cancel_requested"]) == ("running", True)
    assert (asked["cancel"]["by"], asked["cancel"]["why"]) == ("test", NOTE)
    assert who_and_why(http, job, "job.cancel_requested") == [("test", NOTE)]


def test_a_job_is_cancelled_without_a_body_and_says_who(http, database):
    (job,) = jobs(database, JobState.QUEUED)

    cancelled = http.post(f"/jobs/{job}/cancel").json()

    assert cancelled["failure"]["reason"] == "cancelled by test"
    assert who_and_why(http, job, "job.cancelled") == [("test", None)]


def test_a_cancel_with_an_unknown_field_is_refused(http, database):
    (job,) = jobs(database, JobState.QUEUED)

    answer = http.post(f"/jobs/{job}/cancel", json={"reason": NOTE})

    assert (answer.status_code, answer.json()["field"]) == (422, "reason")
    assert http.get(f"/jobs/{job}").json()["state"] == "queued"


# ── many at once ─────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_order_for_many_says_of_each_what_became_of_it(client, database):
    queued, running = jobs(database, JobState.QUEUED, JobState.RUNNING)

    report = client.order(BulkOrder(action=Action.HOLD, jobs=(queued, running, 4711)))

    assert [(item.job, item.done, item.state, item.code) for item in report.items] == [
        (queued, True, "queued", None),
        (running, False, "running", "illegal_transition"),
        (4711, False, None, "not_found"),
    ]
    assert (report.done, report.refused, report.left) == (1, 2, 0)
    assert "cancel it instead" in report.items[1].detail


@pytest.mark.parametrize(
    ("action", "more", "shown"),
    [
        ("cancel", {}, ("state", "cancelled")),
        ("hold", {}, ("held", True)),
        ("priority", {"priority": 0}, ("priority", 0)),
    ],
)
def test_a_filter_chooses_by_project_state_kind_and_pipeline(http, database, action, more, shown):
    wanted, other = jobs(database, JobState.QUEUED, JobState.WAITING, project="night")
    (day,) = jobs(database, JobState.QUEUED)
    chosen = {"states": ["queued"], "project": "night", "kind": "quantize"}

    report = http.post("/jobs/actions", json={"action": action, "filter": chosen, **more}).json()

    name, value = shown
    assert [item["job"] for item in report["items"]] == [wanted]
    after = {job: http.get(f"/jobs/{job}").json()[name] for job in (wanted, other, day)}
    assert [job for job, shown_now in after.items() if shown_now == value] == [wanted]


@pytest.mark.parametrize(
    ("body", "field", "told"),
    [
        ({"action": "hold"}, None, "either jobs"),
        ({"action": "hold", "jobs": []}, None, "either jobs"),
        ({"action": "hold", "jobs": [1], "filter": {"project": "p"}}, None, "either jobs"),
        ({"action": "hold", "filter": {}}, "filter", "every job"),
        ({"action": "hold", "filter": {"states": ["asleep"]}}, "filter.states.0", "waiting"),
        ({"action": "hold", "filter": {"owner": "me"}}, "filter.owner", "unknown field"),
        ({"action": "hold", "jobs": [0]}, "jobs.0", "at least 1"),
        ({"action": "hold", "jobs": [2**63]}, "jobs.0", "too large"),
        ({"action": "hold", "jobs": list(range(1, 1002))}, "jobs", "1000"),
        ({"action": "hold", "jobs": [1], "priority": 5}, None, "priority"),
        ({"action": "priority", "jobs": [1]}, None, "priority"),
        ({"action": "priority", "jobs": [1], "priority": 10}, "priority", "9"),
        ({"action": "explode", "jobs": [1]}, "action", "cancel"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_its_field(http, database, body, field, told):
    answer = http.post("/jobs/actions", json=body)

    assert (answer.status_code, answer.json().get("field")) == (422, field)
    assert told in answer.json()["detail"]


def test_a_pipeline_is_held_released_reprioritised_and_moved_as_one(client, database):
    pipeline, (running, queued, waiting, _) = a_pipeline(
        database, JobState.RUNNING, JobState.QUEUED, JobState.WAITING, JobState.SUCCEEDED
    )

    held = client.order_pipeline(pipeline, Action.HOLD, note="later")
    shown = {job.id: job.held for job in client.pipeline(pipeline).jobs}
    released = client.order_pipeline(pipeline, Action.UNHOLD)
    urgent = client.order_pipeline(pipeline, Action.PRIORITY, priority=8)
    first = client.order_pipeline(pipeline, Action.FRONT)

    assert [(item.job, item.done) for item in held.items] == [(running, False), (queued, True), (waiting, True)]
    assert [job for job, is_held in shown.items() if is_held] == [queued, waiting]
    assert (released.refused, urgent.done, first.done) == (0, 2, 2)
    assert {client.job(job).priority for job in (queued, waiting)} == {8}


@pytest.mark.parametrize("order", ["cancel", "stop", "hold", "unhold", "priority", "front"])
def test_an_order_for_a_pipeline_that_is_not_there_is_not_found(http, database, order):
    answer = http.post(f"/pipelines/4711/{order}", json={"priority": 1} if order == "priority" else {})

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# ── slots ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_idle_slot_is_drained_and_resumed_and_says_who_did_it(client, database):
    slot = the_slot(database)

    drained = client.drain(slot, "new cooling")
    resumed = client.resume(slot)

    assert (drained.service_state, drained.service_change.by) == (ServiceState.DRAINED, "test")
    assert drained.service_change.note == "new cooling"
    assert (resumed.service_state, resumed.service_change.note) == (ServiceState.IN_SERVICE, None)


def test_a_busy_slot_tells_when_it_will_be_drained_at_the_latest(client, database):
    slot = the_slot(database)
    with database.write() as session:
        job = a_job_row(session, state=JobState.RUNNING, run_seconds=7200)
        attempt = an_attempt(session, job, slot_id=slot, state=AttemptState.RUNNING)
        session.add(Lease(slot_id=slot, attempt_id=attempt.id, expires_at=A_MOMENT))

    before = client.slot(slot).drained_when
    draining = client.drain(slot)

    assert before is None
    assert draining.service_state is ServiceState.DRAINING
    assert draining.drained_when == A_MOMENT + timedelta(hours=2)


def test_a_quarantined_slot_shows_why_and_who_wants_it_back_until_its_worker_has_answered(client, database):
    slot = the_slot(database)

    client.quarantine(slot, "answers differ from g1")
    asked = client.resume(slot, "card reseated")
    with database.write() as session:
        now = database.now(session)
        service.answer_resume(session, slot, worker="w", now=now, refusal=None, evidence=None)

    assert (asked.quarantined_because.by, asked.quarantined_because.reason) == ("test", "answers differ from g1")
    assert (asked.resume_requested.by, asked.resume_requested.note) == ("test", "card reseated")
    assert client.slot(slot).quarantined_because is None
    assert client.slot(slot).service_change.note == "card reseated"


def test_a_quarantined_slot_can_not_be_drained(client, database):
    slot = the_slot(database)
    client.quarantine(slot)

    with pytest.raises(ApiError, match="resume it") as refused:
        client.drain(slot)

    assert (refused.value.status, refused.value.code) == (409, "illegal_transition")


@pytest.mark.parametrize("order", ["drain", "resume", "quarantine"])
@pytest.mark.parametrize(("slot", "status"), [("lab1.g7", 404), ("g3", 404), ("lab1.g3;", 422)])
def test_an_order_for_a_slot_that_is_not_there_says_how_slots_are_written(http, database, order, slot, status):
    the_slot(database)

    answer = http.post(f"/slots/{slot}/{order}")

    assert answer.status_code == status
    if status == 404:
        assert "HOST.g3" in answer.json()["detail"]


def test_an_empty_note_is_refused(http, database):
    answer = http.post(f"/slots/{the_slot(database)}/drain", json={"note": ""})

    assert (answer.status_code, answer.json()["field"]) == (422, "note")
