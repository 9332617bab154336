import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from orchestrator.dispatcher.leader import Leadership
from orchestrator.model.broker_findings import BrokerFinding
from orchestrator.settings import url_of_sqlite
from orchestrator.storage.database import Database

CUT = ["jobs", "pipelines"]
LISTS = ["jobs", "hosts", "slots", "artifacts", "models", "releases", "pipelines"]


@pytest.fixture
def prompts(at_site, tx81) -> dict:
    """The stored artifact of a submitted file of questions."""
    file = Path(at_site.tools["home"]) / "问题.txt"
    file.write_text("你是谁？\nWho are you?\n")
    made = tx81("submit", _an_infer(at_site, file), "--output", "json").document
    digest = next(found["digest"] for found in _shown(tx81, made["id"])["inputs"] if found["name"] == "prompts")
    listed = tx81("artifacts", "--name", "prompts", "--output", "json").document
    return next(found for found in listed if found["digest"] == digest)


def _an_infer(site, prompts: Path) -> Path:
    convert = {"spec": {"kind": "convert", "model": "tiny", "backend_type": "qwen2_7b_bf16"}}
    compiled = {"spec": {"kind": "compile", "c_source": {"job": "convert", "artifact": "c_source"}}}
    infer = {
        "spec": {
            "kind": "infer",
            "model": "tiny",
            "kcore": {"job": "compile", "artifact": "kcore"},
            "prompts": {"path": str(prompts)},
            "cards": "12..15",
        },
        # Whatever slots other tests have registered.
        "placement": {"wait_for_slot": True},
    }
    file = Path("pipeline.json")
    file.write_text(json.dumps({"name": "p", "jobs": {"convert": convert, "compile": compiled, "infer": infer}}))
    return file


def _shown(tx81, pipeline: int) -> dict:
    jobs = tx81("jobs", "--pipeline", pipeline, "--kind", "infer", "--output", "json").document
    return tx81("show", jobs[0]["id"], "--output", "json").document


@pytest.mark.parametrize("command", LISTS)
def test_a_list_is_one_json_document_and_nothing_else(tx81, queued, command):
    ran = tx81(command, "--output", "json", *(["--limit", 10_000] if command in CUT else []))

    assert (ran.code, ran.err) == (0, "")
    assert isinstance(ran.document, list)


@pytest.mark.parametrize("command", LISTS)
def test_a_table_in_a_pipe_has_no_colours_and_no_trailing_blanks(at_site, queued, command):
    shown = subprocess.run([sys.executable, "-m", "cli.main", command], capture_output=True, text=True, check=True)

    assert shown.stdout
    assert "\x1b" not in shown.stdout
    assert [line for line in shown.stdout.splitlines() if line != line.rstrip()] == []


def test_the_job_page_tells_spec_state_and_why(tx81, queued):
    tx81("cancel", queued)

    page = tx81("show", queued).out

    assert f"job {queued}" in page
    assert "cancelled by admin" in page
    assert "tiny" in page


def test_the_job_page_tells_the_command_that_was_run_as_a_line_for_the_shell(site, tx81, queued):
    command = {"argv": ["python", "run.py", "-pp", "问题 1.txt"], "env": {}, "cwd": "/srv/work"}
    with sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30) as database:
        _an_attempt(database, queued, command=command)

    page = tx81("show", queued).out

    assert "cd /srv/work && python run.py -pp '问题 1.txt'" in page


def test_the_page_of_a_running_job_tells_how_far_its_tool_is(site, tx81, queued):
    with sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30) as database:
        _an_attempt(database, queued, progress={"done": 17, "total": 28})
        database.execute("UPDATE job SET state = 'running' WHERE id = ?", (queued,))

    page = tx81("show", queued).out

    assert "17 of 28" in page


def _an_attempt(database, job, **documents) -> None:
    database.execute(
        "INSERT OR IGNORE INTO slot (id, host, name, kind, service_state)"
        " VALUES ('lab8.cpu0', 'lab8', 'cpu0', 'cpu', 'in_service')"
    )
    columns = ", ".join(documents)
    database.execute(
        f"INSERT INTO attempt (job_id, number, slot_id, slot_ids, state, assigned_at, log_bytes, {columns})"
        " VALUES (?, 1, 'lab8.cpu0', '[\"lab8.cpu0\"]', 'running', '2026-01-01 00:00:00', 0, ?)",
        (job, *map(json.dumps, documents.values())),
    )


def test_where_an_input_comes_from_is_told(tx81, prompts, at_site):
    job = tx81("jobs", "--kind", "infer", "-n", 1, "--output", "json").document[0]

    page = tx81("show", job["id"]).out

    assert "kcore of compile" in page
    assert "not made yet" in page
    assert prompts["digest"] in page


def test_no_more_jobs_are_listed_than_asked_for(tx81, queued):
    ran = tx81("jobs", "-n", 1, "--output", "json")

    assert [job["id"] for job in ran.document] == [queued]


def test_jobs_are_filtered_by_state(tx81, queued):
    tx81("cancel", queued)

    states = {job["state"] for job in tx81("jobs", "--state", "cancelled", "--output", "json").document}

    assert states == {"cancelled"}


def test_an_artifact_is_downloaded_under_the_name_that_is_asked_for(tx81, prompts):
    ran = tx81("artifacts", "get", prompts["id"], "-o", "here.txt")

    assert ran.code == 0
    assert Path("here.txt").read_text() == "你是谁？\nWho are you?\n"


def test_an_artifact_goes_into_a_folder_under_its_own_name(tx81, prompts):
    Path("folder").mkdir()

    ran = tx81("artifacts", "get", prompts["id"], "-o", "folder", "--output", "json")

    assert Path(ran.document["path"]) == Path("folder/问题.txt").absolute()
    assert [file.name for file in Path("folder").iterdir()] == ["问题.txt"]


def test_what_exists_is_not_overwritten_by_a_download(tx81, prompts):
    Path("here.txt").write_text("mine")

    ran = tx81("artifacts", "get", prompts["id"], "-o", "here.txt")

    assert ran.code == 2
    assert Path("here.txt").read_text() == "mine"


def test_a_job_that_was_never_tried_has_no_log(tx81, queued):
    ran = tx81("logs", queued)

    assert (ran.code, ran.out, ran.err.count("\n")) == (5, "", 1)


def test_a_model_is_added_under_another_name(tx81, at_site, request):
    ran = tx81(
        "models", "add", "again", at_site.tools["model"], "--tx81-config",
        f"{at_site.tools['model']}/config_tx81.json", "--output", "json",
    )  # fmt: skip

    assert (ran.code, ran.document["name"]) == (0, "again")


def test_a_release_that_is_not_where_it_is_said_to_be_is_refused(tx81, at_site):
    ran = tx81("releases", "add", "r2", "txnn_1.2.1_build0307", at_site.tools["cards"])

    assert ran.code == 5
    assert "root" in ran.err


def test_the_doctor_says_that_nobody_places_jobs_and_what_to_do(tx81, at_site):
    ran = tx81("doctor", "--output", "json")

    checks = {check["check"]: check for check in ran.document["checks"]}
    assert ran.code == 3
    assert checks["token"]["result"] == "ok"
    assert "tx81 dispatcher" in checks["dispatcher"]["found"]


@pytest.fixture
def leader(at_site) -> Iterator[Callable[[BrokerFinding], None]]:
    """A dispatcher that leads and has looked at its broker."""
    database = Database(url_of_sqlite(at_site.token_file.parent / "tx81.db"))
    leadership = Leadership(database, "the test", timedelta(minutes=1))
    assert leadership.acquire()
    yield lambda found: leadership.note_broker(found.document())
    leadership.resign()
    database.close()


@pytest.mark.parametrize(
    ("found", "result", "said"),
    [
        (BrokerFinding(), "ok", "answers"),
        (BrokerFinding(error="no route to 10.0.0.7"), "fail", "the broker does not answer; the log of the dispatcher"),
        (BrokerFinding(foreign=("celery@x",)), "fail", "workers of other installations use this broker (1)"),
        (BrokerFinding(silent=("a.g0", "a.g1")), "fail", "compare TX81_BROKER_URL"),
    ],
    ids=["fine", "dead", "foreign", "silent"],
)
def test_the_doctor_says_what_is_wrong_with_the_broker_of_an_idle_lab(tx81, leader, found, result, said):
    leader(found)

    ran = tx81("doctor", "--output", "json")

    (broker,) = [check for check in ran.document["checks"] if check["check"] == "broker"]
    assert broker["result"] == result
    assert said in broker["found"]
    assert "10.0.0.7" not in ran.out  # the address that it asks needs no token


@pytest.mark.parametrize(
    ("user", "result", "said"),
    [
        ("", "warn", "run as the worker's user"),
        ("nobody", "ok", "run as nobody"),
        ("root", "fail", "root"),
        ("no-such-user", "fail", "there is no"),
    ],
)
def test_the_doctor_says_whether_tools_are_apart_from_their_worker(tx81, monkeypatch, user, result, said):
    monkeypatch.setenv("TX81_TOOL_USER", user)

    ran = tx81("doctor", "--server", "http://127.0.0.1:9", "--output", "json")

    (found,) = [check for check in ran.document["checks"] if check["check"] == "tool user"]
    assert found["result"] == result
    assert said in found["found"]


def test_the_doctor_reports_a_server_that_is_away_beside_the_machine(tx81):
    ran = tx81("doctor", "--server", "http://127.0.0.1:9", "--output", "json")

    results = {check["check"]: check["result"] for check in ran.document["checks"]}
    assert ran.code == 3
    assert (results["python"], results["server"]) == ("ok", "fail")


def test_a_release_that_is_as_its_profile_says_passes_its_check(tx81, at_site, tmp_path, monkeypatch):
    monkeypatch.setenv("TX81_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("TX81_DEVICES_DIR", at_site.tools["cards"])

    ran = tx81("releases", "check", "r1", "--output", "json")

    asked = {found["about"] for found in ran.document["findings"] if "its help knows" in found["detail"]}
    assert (ran.code, ran.document["ok"]) == (0, True), ran.document
    assert asked >= {"quantize", "convert", "infer"}
    shown = tx81("releases", "show", "r1", "--output", "json").document
    assert [(check["host"], check["ok"]) for check in shown["checks"]] == [(ran.document["host"], True)]
    assert shown["profile"]["profile"] == "txnn_1.2.1_build0307"


def test_a_release_that_is_not_on_this_machine_does_not_pass(tx81, at_site, tmp_path, monkeypatch):
    monkeypatch.setenv("TX81_STATE_DIR", str(tmp_path / "state"))

    ran = tx81("releases", "check", "r1", "--root", str(tmp_path / "gone"))

    assert ran.code == 1
    assert "not a folder on this host" in ran.out
