"""Suites and schedules, as HTTP sees them; nobody runs their jobs here."""

from xml.etree import ElementTree

import pytest
from builders.rows import a_model, a_release, a_slot_row, an_artifact

from orchestrator.storage.tables import Schedule, SuiteRun

CELL = "model=qwen,prompts=basic"


@pytest.fixture
def suite(database, store) -> dict:
    """A suite that fits what is registered."""
    digest = store.put_bytes(b"x").digest
    with database.write() as session:
        a_release(session)
        a_model(session)
        for name in ("kcore", "prompts"):
            an_artifact(session, name=name, digest=digest)
        for slot in ("lab1.g0", "lab1.g1"):
            a_slot_row(session, slot, worker="w", heartbeat_at=database.now(session))
    matrix = {"models": ["qwen"], "prompts": {"basic": {"prompts": {"digest": digest}}}}
    return {"name": "nightly", "matrix": matrix, "template": {"kcore": {"digest": digest}}}


@pytest.fixture
def applied(http, suite) -> dict:
    answer = http.put("/suites/nightly", json=suite)
    assert answer.status_code == 200, answer.text
    return answer.json()


def _judged(database, run: int, **told) -> None:
    cell = {
        "verdict": "worse", "outcome": "model_or_toolchain", "why": "answers: 3 of 3 \x1b changed", "remedy": None,
        "baseline": 1, "slots": ["lab1.g0"], "jobs": {"measure": [1]}, "comparison": None, "same": None, "other": None,
    }  # fmt: skip
    good = {**cell, "verdict": "same", "outcome": "good", "why": "equal"}
    lost = {**cell, "verdict": "infrastructure", "outcome": "unjudged", "why": "every run ended by a fault"}
    with database.write() as session:
        row = session.get_one(SuiteRun, run)
        row.ended_at, row.verdict, row.why = database.now(session), "worse", "answers changed"
        row.cells, row.alarms, row.false_alarms = 3, 1, 0
        row.report = {"cells": {CELL: cell, f"{CELL},slots=g1": good, f"{CELL},slots=g2": lost}}


def test_an_applied_suite_is_shown_with_its_cells_and_listed(http, applied):
    listed = http.get("/suites").json()["items"]

    assert applied["cell_keys"] == [CELL]
    assert (applied["verdict"], applied["alarms"]["rate"], applied["schedules"]) == (None, None, [])
    assert [each["name"] for each in listed] == ["nightly"]
    assert applied == http.get("/suites/nightly").json()


def test_a_run_is_started_once_for_a_key_and_shown_with_its_progress(http, applied):
    made = http.post("/suites/nightly/runs", headers={"Idempotency-Key": "k"})
    again = http.post("/suites/nightly/runs", headers={"Idempotency-Key": "k"})

    assert (made.status_code, again.status_code) == (201, 200)
    assert made.json() == again.json()
    assert made.headers["Location"].endswith(f"/suite-runs/{made.json()['id']}")
    assert (made.json()["jobs"], made.json()["jobs_ended"], made.json()["verdict"]) == (3, 0, None)
    assert [run["id"] for run in http.get("/suites/nightly/runs").json()["items"]] == [made.json()["id"]]
    assert http.get("/suites").json()["items"][0]["running"]["id"] == made.json()["id"]
    batch = http.get(f"/batches/{made.json()['batch_id']}").json()
    assert (batch["name"], batch["size"]) == ("nightly", 3)


def test_a_judged_run_is_read_by_tools_that_show_tests(http, applied, database):
    run = http.post("/suites/nightly/runs").json()["id"]
    assert http.get(f"/suite-runs/{run}/junit").status_code == 409
    _judged(database, run)

    answer = http.get(f"/suite-runs/{run}/junit")
    (suite,) = ElementTree.fromstring(answer.content)

    assert [suite.get(name) for name in ("name", "tests", "failures", "errors")] == ["nightly", "3", "1", "1"]
    assert [(case.get("name"), [child.tag for child in case]) for case in suite] == [
        (CELL, ["failure"]), (f"{CELL},slots=g1", []), (f"{CELL},slots=g2", ["error"]),
    ]  # fmt: skip
    shown = http.get(f"/suite-runs/{run}").json()
    assert {cell["cell"]: cell["verdict"] for cell in shown["cell_reports"]}[CELL] == "worse"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"matrix": {"models": ["gone"]}}, "matrix.models.0"),
        ({"matrix": {"models": []}}, "matrix.models"),
        ({"matrix": {"models": ["qwen"] * 2}}, "matrix"),
        ({"matrix": {"models": [f"m{number}" for number in range(101)]}}, "matrix.models"),
        ({"matrix": {"model": ["qwen"]}}, "matrix.model"),
        ({"repeats": 0}, "repeats"),
        ({"repeats": True}, "repeats"),
        ({"repeats": 5, "budget": 4}, ""),
        ({"answers": "good"}, "answers"),
        ({"answers": "report"}, ""),
        ({"across": ["everything"]}, "across.0"),
        ({"gates": {"output_throughput": {"alpha": 0}}}, "gates.output_throughput.alpha"),
        ({"gates": {"x y": {}}}, "gates.x y"),
        ({"max_jobs": 100_000}, "max_jobs"),
        ({"name": "other"}, "name"),
    ],
)
def test_a_suite_that_makes_no_sense_is_refused_with_its_field(http, suite, change, field):
    body = {**suite, **change, "matrix": {**suite["matrix"], **change.get("matrix", {})}}

    answer = http.put("/suites/nightly", json=body)

    assert (answer.status_code, answer.json().get("field") or "") == (422, field)
    assert http.get("/suites").json()["items"] == []


def test_a_matrix_of_millions_is_refused_before_it_is_written_out(http, suite):
    names = [f"m{number}" for number in range(100)]
    prompts = {f"p{number}": suite["matrix"]["prompts"]["basic"] for number in range(100)}
    matrix = {"models": names, "releases": names, "prompts": prompts, "slots": [f"h{n}.g0" for n in range(100)]}

    answer = http.put("/suites/nightly", json={**suite, "matrix": matrix})

    assert (answer.status_code, answer.json()["field"]) == (422, "matrix")
    assert "100000000 combinations" in answer.json()["detail"]


def test_a_removed_suite_is_gone_and_its_runs_are_not(http, applied):
    run = http.post("/suites/nightly/runs").json()["id"]

    assert http.delete("/suites/nightly").status_code == 204

    assert http.get("/suites/nightly").status_code == 404
    assert http.post("/suites/nightly/runs").status_code == 404
    assert http.get(f"/suite-runs/{run}").json()["suite"] == "nightly"
    assert http.get("/suites/nightly/runs").json()["items"][0]["id"] == run


def test_a_schedule_is_set_paused_resumed_run_and_removed(http, applied):
    body = {"suite": "nightly", "cron": "30 2 * * 1-5", "zone": "Asia/Shanghai", "max_age_seconds": 100_000}

    made = http.put("/schedules/night", json=body)
    paused = http.post("/schedules/night/pause")
    resumed = http.post("/schedules/night/resume")
    run = http.post("/schedules/night/run")

    assert (made.status_code, len(made.json()["next_times"])) == (200, 5)
    assert all(moment.endswith("18:30:00Z") for moment in made.json()["next_times"])
    assert (paused.json()["paused"], paused.json()["next_times"]) == (True, [])
    assert resumed.json()["paused"] is False
    assert (run.status_code, run.json()["schedule"]) == (201, "night")
    shown = http.get("/schedules").json()["items"][0]
    assert (shown["last_run"]["id"], shown["changed_by"]) == (run.json()["id"], "test")
    assert http.get("/suites/nightly").json()["schedules"] == ["night"]
    assert http.delete("/suites/nightly").status_code == 409
    assert http.delete("/schedules/night").status_code == 204
    assert http.get("/schedules/night").status_code == 404


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"cron": "0 0 30 2 *"}, 422, "cron"),
        ({"cron": "every night"}, 422, "cron"),
        ({"zone": "Mars/Olympus"}, 422, "zone"),
        ({"missed": "sometimes"}, 422, "missed"),
        ({"suite": "other"}, 404, "suite"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_refused_with_its_field(http, applied, database, change, status, field):
    answer = http.put("/schedules/night", json={"suite": "nightly", "cron": "0 2 * * *", **change})

    assert (answer.status_code, answer.json()["field"]) == (status, field)
    with database.read() as session:
        assert session.get(Schedule, "night") is None


def test_a_schedule_whose_suite_was_removed_says_so_and_can_not_be_run_or_resumed(http, applied):
    http.put("/schedules/night", json={"suite": "nightly", "cron": "0 2 * * *"})
    http.post("/schedules/night/pause")
    assert http.delete("/suites/nightly").status_code == 204

    shown = http.get("/schedules/night").json()

    assert "was removed" in shown["problem"]
    assert http.post("/schedules/night/resume").status_code == 404
    assert http.post("/schedules/night/run").status_code == 404


def test_two_jobs_are_run_side_by_side_on_a_reserved_card_group(http, suite):
    spec = {
        "kind": "infer", "model": "qwen", "kcore": suite["template"]["kcore"],
        "prompts": suite["matrix"]["prompts"]["basic"]["prompts"],
    }  # fmt: skip
    jobs = [http.post("/jobs", json={"spec": spec}).json()["id"] for _ in range(2)]

    nowhere = http.post("/ab-runs", json={"a": jobs[0], "b": jobs[1]})
    made = http.post("/ab-runs", json={"a": jobs[0], "b": jobs[1], "blocks": 2, "slot": "lab1.g0"})
    again = http.post("/ab-runs", json={"a": jobs[0], "b": jobs[1], "blocks": 2, "slot": "lab1.g0"})

    assert (nowhere.status_code, nowhere.json()["field"]) == (422, "slot")
    assert (made.status_code, made.json()["jobs"], made.json()["purpose"]) == (201, 8, "ab")
    assert (again.status_code, again.json()["code"]) == (409, "already_reserved")
    reservation = http.get(f"/reservations/{made.json()['ab']['reservation']}").json()
    assert (reservation["slots"], reservation["project"]) == (["lab1.g0"], "ab")
    assert http.get(made.headers["Location"].removeprefix("/api/v1")).json() == made.json()


def test_a_run_of_a_suite_against_itself_is_asked_for_in_the_body(http, applied):
    made = http.post("/suites/nightly/runs", json={"purpose": "aa"})

    assert (made.json()["purpose"], made.json()["jobs"]) == ("aa", 6)
    assert http.post("/suites/nightly/runs", json={"purpose": "ab"}).json()["field"] == "purpose"


def test_runs_stand_side_by_side_with_the_worst_case_first(http, client, applied, database):
    judged = http.post("/suites/nightly/runs").json()["id"]
    _judged(database, judged)

    found = client.suites.grid("nightly", q="basic")

    assert [run.id for run in found.runs] == [judged]
    assert [(row.cell, row.cells[0].verdict) for row in found.rows] == [
        (CELL, "worse"), (f"{CELL},slots=g2", "infrastructure"), (f"{CELL},slots=g1", "same"),
    ]  # fmt: skip
    assert http.get("/suites/nightly/grid", params={"limit": 51}).json()["field"] == "limit"
    assert http.get("/suites/none/grid").status_code == 404
