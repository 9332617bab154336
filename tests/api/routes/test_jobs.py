from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from builders.databases import both_databases
from builders.rows import A_MOMENT, a_job_row, a_model, a_release, a_slot_row, an_artifact, an_attempt, an_event

from api.client.client import ApiError
from orchestrator.model.specs import JobRequest
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.storage.tables import Answer, Job, JobInput, JobNeed, Lease, Metric, Pipeline

pytestmark = both_databases


@pytest.fixture
def model(database) -> str:
    with database.write() as session:
        a_release(session)
        return a_model(session).name


def quantize(model: str, **facts) -> dict:
    return {"spec": {"kind": "quantize", "model": model}, **facts}


def jobs(database, number: int, **facts) -> list[int]:
    with database.write() as session:
        return [a_job_row(session, **facts).id for _ in range(number)]


def test_a_submitted_job_is_where_the_answer_says(http, model):
    made = http.post("/jobs", json=quantize(model, name="first", priority=7))

    shown = http.get(f"http://testserver{made.headers['Location']}").json()

    assert made.status_code == 201
    assert shown["id"] == made.json()["id"]
    assert (shown["name"], shown["priority"], shown["model"]) == ("first", 7, model)
    assert shown["request"]["spec"] == {"kind": "quantize", "model": model, "dtype": "bfloat16"}


def test_a_bulk_makes_all_its_jobs(http, model):
    made = http.post("/jobs/bulk", json={"jobs": [quantize(model, name=f"n{i}", use_cache=False) for i in range(5)]})

    assert made.status_code == 201
    assert [job["name"] for job in made.json()["items"]] == ["n0", "n1", "n2", "n3", "n4"]


def test_a_bulk_of_more_than_a_thousand_is_refused(http, model):
    answer = http.post("/jobs/bulk", json={"jobs": [quantize(model)] * 1001})

    assert (answer.status_code, answer.json()["field"]) == (422, "jobs")


def test_the_same_key_and_body_make_one_job(http, model):
    key = {"Idempotency-Key": "once 1"}

    first = http.post("/jobs", json=quantize(model), headers=key)
    second = http.post("/jobs", json=quantize(model), headers=key)

    assert (first.status_code, second.status_code) == (201, 200)
    assert "Idempotent-Replay" not in first.headers
    assert second.headers["Idempotent-Replay"] == "true"
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Location"] == first.headers["Location"]
    assert len(http.get("/jobs").json()["items"]) == 1


def test_the_same_key_sent_many_times_at_once_makes_one_job(client, model):
    request = JobRequest.model_validate(quantize(model))

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: client.submit(request, key="at once").id, range(8)))

    assert len(set(made)) == 1
    assert len(client.jobs().items) == 1


def test_a_path_outside_the_allowed_roots_is_refused(client):
    with pytest.raises(ApiError) as model:
        client.register_model("m", "/etc")
    with pytest.raises(ApiError) as release:
        client.register_release("r", "txnn_1.2.1_build0307", "/etc")

    assert (model.value.status, model.value.code, model.value.field) == (422, "path_refused", "path")
    assert (release.value.status, release.value.code, release.value.field) == (422, "path_refused", "root")


def test_the_same_key_for_another_request_is_refused(http, model):
    key = {"Idempotency-Key": "once"}
    http.post("/jobs", json=quantize(model), headers=key)

    other_body = http.post("/jobs", json=quantize(model, priority=1), headers=key)
    other_route = http.post("/jobs/bulk", json={"jobs": [quantize(model)]}, headers=key)

    assert (other_body.status_code, other_body.json()["code"]) == (422, "idempotency_mismatch")
    assert other_route.status_code == 422


@pytest.mark.parametrize("key", [b"", b"x" * 201, "名".encode(), b"\x01"])
def test_a_key_that_is_no_printable_word_is_refused(http, model, key):
    answer = http.post("/jobs", json=quantize(model), headers=[(b"Idempotency-Key", key)])

    assert (answer.status_code, answer.json()["field"]) == (422, "Idempotency-Key")


def test_a_refused_request_leaves_its_key_unused(http, model):
    key = {"Idempotency-Key": "again"}

    refused = http.post("/jobs", json=quantize("unknown"), headers=key)
    made = http.post("/jobs", json=quantize(model), headers=key)

    assert (refused.status_code, made.status_code) == (422, 201)


def test_pages_stay_as_they_are_while_jobs_are_added(http, database):
    old = jobs(database, 5)
    first = http.get("/jobs?limit=2").json()
    jobs(database, 3)

    second = http.get(f"/jobs?limit=2&cursor={first['next']}").json()
    third = http.get(f"/jobs?limit=2&cursor={second['next']}").json()

    seen = [job["id"] for page in (first, second, third) for job in page["items"]]
    assert seen == list(reversed(old))
    assert third["next"] is None


def test_a_list_that_just_fits_has_no_next_page(http, database):
    jobs(database, 2)

    assert http.get("/jobs?limit=2").json()["next"] is None


def test_lists_are_narrowed(http, database):
    with database.write() as session:
        pipeline = Pipeline(name="p", project="night", created_at=A_MOMENT)
        session.add(pipeline)
        session.flush()
        wanted = a_job_row(session, name="Qwen-quant", project="night", pipeline_id=pipeline.id, state=JobState.FAILED)
        an_attempt(session, wanted, slot_id="lab1.cpu3", state=AttemptState.FAILED)
        a_job_row(session, request={"spec": {"kind": "compile", "c_source": {"job": 1, "artifact": "c_source"}}})
        number, in_pipeline = wanted.id, pipeline.id

    def found(query: str) -> list[int]:
        return [job["id"] for job in http.get(f"/jobs?{query}").json()["items"]]

    for query in (
        "state=failed&state=running",
        "kind=quantize",
        "project=night",
        "model=some-model",
        f"pipeline={in_pipeline}",
        "slot=lab1.cpu3",
        "name=Qwen-quant",
        "q=WEN-Q",
    ):
        assert found(query) == [number], query
    assert found("q=_") == []
    assert found("project=day") == []


def test_a_detail_tells_what_went_in_what_came_out_and_what_ran_where(http, database):
    with database.write() as session:
        build = a_job_row(session, name="build", state=JobState.SUCCEEDED)
        facts = {
            "spec": {"kind": "infer", "model": "m", "kcore": {"job": build.id, "artifact": "kcore"},
                     "prompts": {"path": "/p"}}
        }  # fmt: skip
        job = a_job_row(
            session, name="ask", request=facts, state=JobState.FAILED, started_at=A_MOMENT, ended_at=A_MOMENT
        )
        failure = {"kind": "tool", "reason": "it said no", "exit_code": 3}
        attempt = an_attempt(
            session, job, state=AttemptState.FAILED, pid=77, seconds=1.5, failure=failure, command={"argv": ["python"]}
        )
        session.add_all(
            [
                JobNeed(job_id=job.id, needs_id=build.id),
                JobInput(job_id=job.id, name="kcore", from_job_id=build.id, from_artifact="kcore", digest="sha256:1"),
                Metric(attempt_id=attempt.id, name="tps", value=9.5, unit="tok/s", definition="d1", count=3),
                Answer(attempt_id=attempt.id, repeat=0, index=0, question="你好?", text="你好！"),
            ]
        )
        an_artifact(session, job_id=job.id, attempt_id=attempt.id)
        number, needed = job.id, build.id

    shown = http.get(f"/jobs/{number}").json()

    assert [need["name"] for need in shown["needs"]] == ["build"]
    assert shown["inputs"][0]["digest"] == "sha256:1"
    tried = shown["attempts"][0]
    assert (tried["slot_id"], tried["pid"], tried["exit_code"], tried["seconds"]) == ("lab1.g0", 77, 3, 1.5)
    assert tried["failure"]["reason"] == "it said no"
    assert tried["command"] == {"argv": ["python"]}
    assert [output["name"] for output in shown["outputs"]] == ["answers"]
    assert (shown["metrics"][0]["name"], shown["metrics"][0]["value"]) == ("tps", 9.5)
    assert shown["answers"] == 1
    assert shown["cache"]["outcome"] == "never"
    assert shown["timings"]["running"] == 0.0
    assert [job["name"] for job in http.get(f"/jobs/{needed}").json()["needed_by"]] == ["ask"]


def test_the_time_of_an_attempt_that_was_lost_is_not_told_as_waiting(http, database):
    begun, queued_again, ended = (A_MOMENT + timedelta(seconds=seconds) for seconds in (2, 60, 70))
    with database.write() as session:
        job = a_job_row(
            session, state=JobState.SUCCEEDED, created_at=A_MOMENT, started_at=begun, queued_at=queued_again,
            ended_at=ended,
        )  # fmt: skip
        number = job.id

    timings = http.get(f"/jobs/{number}").json()["timings"]

    assert timings == {"waiting": 2.0, "queued": 0.0, "running": 68.0, "total": 70.0}


def test_a_job_says_what_the_cache_did(http, database):
    with database.write() as session:
        source = a_job_row(session, state=JobState.SUCCEEDED).id
        hit = a_job_row(session, state=JobState.SUCCEEDED, cached_from=source, cache_key="sha256:k").id
        joined = a_job_row(session, state=JobState.WAITING, joined_to=source, cache_key="sha256:k").id
        off = a_job_row(session, request={"use_cache": False}, cache_key="sha256:k").id
        missed = a_job_row(session, cache_key="sha256:k")
        an_event(session, missed, kind="job.queued", data={"why": "cache missed: input model"})
        miss = missed.id

    told = {number: http.get(f"/jobs/{number}").json()["cache"] for number in (hit, joined, off, miss)}

    assert (told[hit]["outcome"], told[hit]["job_id"]) == ("hit", source)
    assert (told[joined]["outcome"], told[joined]["job_id"]) == ("joined", source)
    assert told[off]["outcome"] == "off"
    assert (told[miss]["outcome"], told[miss]["why"]) == ("miss", "cache missed: input model")


def test_log_and_answers_of_a_job_that_never_ran_say_why_and_where_they_are(http, database):
    with database.write() as session:
        source = a_job_row(session, state=JobState.SUCCEEDED).id
        hit = a_job_row(session, state=JobState.SUCCEEDED, cached_from=source, cache_key="sha256:k2").id
        cancelled = a_job_row(session, state=JobState.CANCELLED).id
        waits = a_job_row(session).id
    told = {
        (job, what): http.get(f"/jobs/{job}/{what}").json()
        for job in (hit, cancelled, waits)
        for what in ("log", "log/times", "answers")
    }

    for what in ("log", "log/times", "answers"):
        assert told[hit, what]["code"] == "answered_from_cache"
        assert f"tx81 logs {source}" in told[hit, what]["detail"]
        assert "ended as cancelled before it ran" in told[cancelled, what]["detail"]
        assert f"tx81 explain {waits}" in told[waits, what]["detail"]


def test_nothing_is_sent_again_while_nothing_has_changed(http, database):
    with database.write() as session:
        job = a_job_row(session, state=JobState.RUNNING)
        attempt = an_attempt(session, job)
        number = job.id
    seen = {"If-None-Match": http.get(f"/jobs/{number}").headers["ETag"]}

    unchanged = http.get(f"/jobs/{number}", headers=seen)
    with database.write() as session:
        session.merge(attempt).progress = {"done": 1, "total": 2}
    changed = http.get(f"/jobs/{number}", headers=seen)

    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert changed.status_code == 200


def test_a_job_is_cancelled_only_as_it_was_seen(http, database):
    (job,) = jobs(database, 1)
    seen = http.get(f"/jobs/{job}").headers["ETag"]
    with database.write() as session:
        session.get_one(Job, job).version += 1

    stale = http.post(f"/jobs/{job}/cancel", headers={"If-Match": seen})
    fresh = http.post(f"/jobs/{job}/cancel", headers={"If-Match": http.get(f"/jobs/{job}").headers["ETag"]})

    assert (stale.status_code, stale.json()["code"]) == (412, "stale_version")
    assert (fresh.status_code, fresh.json()["state"]) == (200, "cancelled")


def test_a_job_that_has_ended_cannot_be_cancelled(http, database):
    (job,) = jobs(database, 1, state=JobState.SUCCEEDED)

    answer = http.post(f"/jobs/{job}/cancel")

    assert (answer.status_code, answer.json()["code"]) == (409, "illegal_transition")


def test_a_finished_job_is_retried_as_a_new_one(http, model):
    job = http.post("/jobs", json=quantize(model, priority=8)).json()["id"]
    too_early = http.post(f"/jobs/{job}/retry")
    http.post(f"/jobs/{job}/cancel")

    again = http.post(f"/jobs/{job}/retry", headers={"Idempotency-Key": "r"})
    replay = http.post(f"/jobs/{job}/retry", headers={"Idempotency-Key": "r"})

    assert too_early.status_code == 409
    assert again.status_code == 201
    assert again.json()["id"] != job
    assert again.json()["priority"] == 8
    assert (replay.status_code, replay.json()["id"]) == (200, again.json()["id"])


def test_answers_come_in_pages_by_repeat_and_prompt(http, database):
    with database.write() as session:
        job = a_job_row(session)
        attempt = an_attempt(session, job)
        session.add_all(
            Answer(attempt_id=attempt.id, repeat=repeat, index=index, question="问", text=f"{repeat}.{index}")
            for repeat in range(2)
            for index in range(3)
        )
        number = job.id

    first = http.get(f"/jobs/{number}/answers?limit=4").json()
    second = http.get(f"/jobs/{number}/answers?limit=4&cursor={first['next']}").json()

    told = [answer["text"] for page in (first, second) for answer in page["items"]]
    assert told == ["0.0", "0.1", "0.2", "1.0", "1.1", "1.2"]
    assert second["next"] is None


def test_an_answer_names_the_slot_that_gave_it_and_lies_beside_those_of_the_other_slots(http, database):
    with database.write() as session:
        job = a_job_row(session)
        a_slot_row(session, "lab1.g2")
        attempt = an_attempt(session, job, slot_ids=["lab1.g0", "lab1.g2"])
        session.add_all(
            Answer(attempt_id=attempt.id, repeat=1, index=index, batch=batch, question="问", text=f"{index}.{batch}")
            for batch in range(2)
            for index in range(2)
        )
        number = job.id

    first = http.get(f"/jobs/{number}/answers?limit=3").json()
    second = http.get(f"/jobs/{number}/answers?limit=3&cursor={first['next']}").json()

    told = [(answer["text"], answer["slot_id"]) for page in (first, second) for answer in page["items"]]
    assert told == [("0.0", "lab1.g0"), ("0.1", "lab1.g2"), ("1.0", "lab1.g0"), ("1.1", "lab1.g2")]


def test_every_slot_of_a_gang_shows_its_job_and_the_job_all_its_slots(http, database):
    with database.write() as session:
        job = a_job_row(session, name="gang", state=JobState.RUNNING)
        attempt = an_attempt(session, job, slot_ids=["lab1.g0", "lab1.g2"])
        for slot in (
            a_slot_row(session, "lab1.g0"),
            a_slot_row(session, "lab1.g2", service_state=ServiceState.DRAINING),
        ):
            session.add(Lease(slot_id=slot.id, attempt_id=attempt.id, expires_at=A_MOMENT))
        number = job.id

    slots = {slot["id"]: slot for slot in http.get("/slots").json()["items"]}
    shown = http.get(f"/jobs/{number}").json()

    assert {name: (slot["job"]["id"], slot["occupancy"]) for name, slot in slots.items()} == {
        "lab1.g0": (number, "running"),
        "lab1.g2": (number, "running"),
    }
    assert slots["lab1.g2"]["attempt"]["slot_ids"] == ["lab1.g0", "lab1.g2"]
    assert [slot["drained_when"] is not None for slot in slots.values()] == [False, True]
    assert (shown["last_slot_id"], shown["last_slot_ids"]) == ("lab1.g0", ["lab1.g0", "lab1.g2"])
    assert shown["attempts"][0]["slot_ids"] == ["lab1.g0", "lab1.g2"]
    assert [job["id"] for job in http.get("/jobs?slot=lab1.g2").json()["items"]] == [number]


def test_events_of_a_job_come_in_pages_oldest_first(http, database):
    with database.write() as session:
        job, other = a_job_row(session), a_job_row(session)
        told = [an_event(session, job, kind=kind).id for kind in ("job.created", "job.queued", "job.assigned")]
        an_event(session, other)
        number = job.id

    first = http.get(f"/jobs/{number}/events?limit=2").json()
    second = http.get(f"/jobs/{number}/events?limit=2&cursor={first['next']}").json()

    assert [event["id"] for page in (first, second) for event in page["items"]] == told


def test_a_pipeline_tells_its_jobs_in_order_and_one_state(http, database, model):
    made = http.post(
        "/pipelines",
        json={
            "name": "build",
            "jobs": {
                "compile": {"spec": {"kind": "compile", "c_source": {"job": "convert", "artifact": "c_source"}}},
                "convert": {"spec": {"kind": "convert", "model": model, "backend_type": "qwen2_7b_bf16"}},
            },
        },
        headers={"Idempotency-Key": "p"},
    )
    number = made.json()["id"]

    listed = http.get("/pipelines").json()["items"]
    shown = http.get(f"/pipelines/{number}").json()

    assert made.status_code == 201, made.text
    assert made.headers["Location"].endswith(f"/pipelines/{number}")
    assert [job["name"] for job in shown["jobs"]] == ["convert", "compile"]
    first, second = (job["id"] for job in shown["jobs"])
    assert shown["needs"] == {str(second): [first]}
    assert (listed[0]["state"], listed[0]["counts"]) == ("queued", {"queued": 1, "waiting": 1})


def test_cancelling_a_pipeline_stops_all_that_has_not_ended(http, database):
    with database.write() as session:
        pipeline = Pipeline(name="p", project="default", created_at=A_MOMENT)
        session.add(pipeline)
        session.flush()
        for state in (JobState.SUCCEEDED, JobState.RUNNING, JobState.QUEUED, JobState.WAITING):
            a_job_row(session, pipeline_id=pipeline.id, state=state)
        number = pipeline.id

    shown = http.post(f"/pipelines/{number}/cancel").json()

    assert [job["state"] for job in shown["jobs"]] == ["succeeded", "running", "cancelled", "cancelled"]
    assert shown["jobs"][1]["cancel_requested"]


def test_a_slot_tells_who_holds_it_and_who_waits_for_it(http, database, settings):
    with database.write() as session:
        now = database.now(session)
        a_slot_row(session, "lab1.cpu0", worker="w", heartbeat_at=now)
        a_slot_row(session, "lab1.cpu1", worker="w", heartbeat_at=now - 2 * settings.lease)
        a_slot_row(session, "lab1.g1")
        job = a_job_row(session, name="busy", state=JobState.RUNNING)
        attempt = an_attempt(session, job, slot_id="lab1.cpu0")
        session.add(Lease(slot_id="lab1.cpu0", attempt_id=attempt.id, expires_at=now))
        for place in ("cpu0", "lab1.cpu0", "lab2.cpu0", "cpu1"):
            a_job_row(session, name=place, request={"placement": {"slot": place, "exclude": ["cpu9"]}})
        a_job_row(session, name="anywhere")

    slots = {slot["id"]: slot for slot in http.get("/slots").json()["items"]}
    shown = http.get("/slots/lab1.cpu0").json()

    assert {name: slot["presence"] for name, slot in slots.items()} == {
        "lab1.cpu0": "alive",
        "lab1.cpu1": "lost",
        "lab1.g1": "away",
    }
    assert {name: slot["occupancy"] for name, slot in slots.items()} == {
        "lab1.cpu0": "running",
        "lab1.cpu1": "free",
        "lab1.g1": "free",
    }
    assert slots["lab1.g1"]["cards"] == [4, 5, 6, 7]
    assert (shown["job"]["name"], shown["queued"]) == ("busy", 2)
    assert [job["name"] for job in shown["queue"]] == ["cpu0", "lab1.cpu0"]


def test_a_check_says_what_a_job_would_be_and_makes_none(http, model):
    checked = http.post("/jobs/check", json=quantize(model, name="first")).json()

    assert (checked["name"], checked["kind"], checked["demand"].split()[0]) == ("first", "quantize", "cpu")
    wrong = http.post("/jobs/check", json=quantize("unknown"))
    assert (wrong.status_code, wrong.json()["field"]) == (422, "spec.model")
    assert http.get("/jobs").json()["items"] == []


def test_a_check_of_a_pipeline_has_each_of_its_jobs(http, model):
    steps = {"a": quantize(model), "b": quantize(model, needs=["a"])}

    checked = http.post("/pipelines/check", json={"name": "p", "jobs": steps}).json()["items"]

    assert [job["name"] for job in checked] == ["a", "b"]
    wrong = http.post("/pipelines/check", json={"name": "p", "jobs": {"a": quantize(model, needs=["x"])}})
    assert (wrong.status_code, wrong.json()["field"]) == (422, "jobs.a.needs.0")
    assert http.get("/pipelines").json()["items"] == []
