"""Batches and stress runs from the shell."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pytest

from api.documents.batches import BatchDetail
from cli.pages.batches import batch_page
from cli.session import console
from cli.waiting.batches import end_of, progress_line
from orchestrator.model.batches import BatchState

REPORT = {
    "id": 7, "name": "stress", "project": "default", "state": "stopped", "stop_on": "sticky_fault", "size": 16,
    "counts": {"succeeded": 7, "failed": 1, "skipped": 8}, "left_out": {"lab1.g4": "is drained"},
    "stop": {"reason": "a sticky fault of job 2 (lab1.g1-1) on lab1.g1: HPGR", "at": "2026-03-01T12:00:00Z"},
    "created_at": "2026-03-01T12:00:00Z", "ended_at": "2026-03-01T13:00:00Z", "failures": {}, "faults": 1,
    "slots": [
        {
            "slot_id": "lab1.g1", "jobs": 1, "failures": 0, "faults": 1, "seconds_p50": None, "seconds_p95": None,
            "seconds_max": None, "exact": 84, "compared": 85, "odd_prompts": 1,
        }
    ],
    "agreement": {
        "prompts": 85, "odd": [{"slot_id": "lab1.g1", "prompts": 1, "first": 3}], "undecided": 0, "unsteady": [],
    },
    "first_failures": [],
    "first_faults": [
        {
            "job_id": 2, "name": "lab1.g1-1", "slot_id": "lab1.g1", "reason": "HPGR\x1b[31m", "signature": "hpgr",
            "quarantined": True,
        }
    ],
}  # fmt: skip


@pytest.fixture
def job(at_site) -> str:
    """A file with one job that nobody will run."""
    request = {"spec": {"kind": "quantize", "model": "tiny"}, "use_cache": False}
    Path("job.json").write_text(json.dumps(request))
    return "job.json"


@pytest.fixture
def stress(tx81, job) -> int:
    """A batch that nobody will run."""
    ran = tx81("stress", job, "--times", 3, "--slots", "cpu0", "--name", "s1", "--output", "json")
    return ran.document["id"]


@pytest.fixture
def report() -> BatchDetail:
    return BatchDetail.model_validate(REPORT)


def ended(site, batch: int) -> None:
    """All jobs of a batch have succeeded."""
    with closing(sqlite3.connect(site.token_file.with_name("tx81.db"))) as database, database:
        database.execute("UPDATE job SET state = 'succeeded' WHERE batch_id = ?", (batch,))


def test_stress_makes_the_job_so_often_and_the_list_shows_the_batch(tx81, job):
    made = tx81("stress", job, "--times", 2, "--slots", "cpu0,cpu1", "--stop-on", "sticky_fault", "--output", "json")
    listed = tx81("batches", "--limit", 1)

    assert made.code == 0
    assert (made.document["size"], made.document["name"]) == (4, "stress-tiny")
    assert made.document["stop_on"] == "sticky_fault"
    assert str(made.document["id"]) in listed.out
    assert "4 waiting" in listed.out


def test_a_stress_run_can_be_said_by_options(tx81, at_site):
    prompts = at_site.tools["prompts"]

    ran = tx81("stress", "--model", "tiny", "--kcore", 1, "--prompts", prompts, "--slots", "g0")

    assert ran.code == 5
    assert "template.spec.kcore" in ran.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ([], "give either a file with one job or --model"),
        (["job.json", "--model", "tiny"], "give either a file with one job or --model"),
        (["--model", "tiny", "--kcore", "4"], "--prompts is missing"),
        (["--model", "tiny", "--kcore", "latest", "--prompts", "p"], "neither a job number nor a digest"),
        (["job.json", "--slots", "g9"], "slots.0"),
        (["job.json", "--times", "0"], "--times"),
        (["job.json", "--slots", "cpu0", "--times", "10001"], "times"),
        (["job.json", "--stop-on", "sometimes"], "stop-on"),
        (["job.json", "--junit", "nowhere/report.xml"], "its folder does not exist"),
        (["jobs.json"], "expected one job"),
        (["missing.json"], "cannot be read"),
    ],
)
def test_a_stress_run_that_is_none_is_one_line_and_makes_nothing(tx81, job, words, told):
    Path("jobs.json").write_text(json.dumps([json.loads(Path(job).read_text())]))
    before = tx81("batches", "--output", "json").document

    ran = tx81("stress", *words)

    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert told in ran.err
    assert tx81("batches", "--output", "json").document == before


def test_a_batch_that_has_ended_is_waited_for_and_told_and_saved_as_junit(tx81, site, stress):
    ended(site, stress)

    ran = tx81("batches", "wait", stress, "--junit", "report.xml")

    assert ran.code == 0
    assert "3 succeeded of 3" in ran.out
    assert ElementTree.parse("report.xml").getroot()[0].get("tests") == "3"
    assert [file.name for file in Path().glob("*report*")] == ["report.xml"]


def test_waiting_in_vain_ends_with_124_and_says_how_to_go_on(tx81, job, stress):
    again = tx81("batches", "wait", stress, "--timeout", 0)
    at_once = tx81("stress", job, "--slots", "cpu0", "--timeout", 0)

    assert (again.code, at_once.code) == (124, 124)
    assert f"tx81 batches wait {stress}" in again.err


def test_a_batch_of_which_nothing_runs_says_once_why(tx81, stress, monkeypatch):
    monkeypatch.setattr("cli.waiting.batches.PATIENCE", 0)

    ran = tx81("batches", "wait", stress, "--timeout", 1.5)

    assert ran.err.startswith("none of these jobs runs; job ")
    assert ran.err.count("none of these jobs runs") == 1


def test_a_batch_is_ordered_about_and_cancelled(tx81, stress):
    codes = [
        tx81("batches", "hold", stress, "--note", "new driver").code,
        tx81("batches", "unhold", stress).code,
        tx81("batches", "priority", stress, "--to", 9).code,
        tx81("batches", "front", stress).code,
        tx81("hold", "--batch", stress).code,
        tx81("batches", "cancel", stress, "--note", "wrong kcore").code,
    ]

    jobs = tx81("jobs", "--batch", stress, "--output", "json").document
    assert codes == [0] * 6
    assert [(job["state"], job["priority"], job["failure"]["reason"]) for job in jobs] == [
        ("cancelled", 9, "cancelled by admin: wrong kcore")
    ] * 3
    assert tx81("batches", "cancel", stress).code == 5
    assert tx81("batches", "wait", stress).code == 1


def test_a_batch_is_submitted_from_a_file_and_a_wrong_field_is_named(tx81, job):
    one = json.loads(Path(job).read_text())
    Path("batch.json").write_text(json.dumps({"name": "nightly", "jobs": [one, {**one, "name": "second"}]}))
    Path("wrong.json").write_text(json.dumps({"name": "nightly", "jobs": [one], "times": 2}))

    made, wrong = tx81("batches", "submit", "batch.json", "--output", "json"), tx81("batches", "submit", "wrong.json")

    assert made.document["size"] == 2
    assert (wrong.code, "times and slots need a template" in wrong.err) == (2, True)


def test_a_report_is_written_before_the_end_too(tx81, stress):
    ran = tx81("batches", "report", stress, "--junit", "now.xml")

    assert (ran.code, ran.err.strip()) == (0, "written: now.xml")
    assert ElementTree.parse("now.xml").getroot()[0].get("skipped") == "3"


def test_required_agreement_that_is_missing_ends_with_1_and_fails_in_junit(tx81, site, stress, report):
    ended(site, stress)

    ran = tx81("batches", "wait", stress, "--junit", "report.xml", "--require-agreement")

    assert (ran.code, "answers of 0 slots: nothing to compare" in ran.err) == (1, True)
    assert ElementTree.parse("report.xml").getroot()[0].get("failures") == "1"
    assert end_of(report.model_copy(update={"state": BatchState.SUCCEEDED}), require_agreement=True) == 1


def test_the_page_names_the_dead_slot_the_odd_answers_and_what_was_left_out(report):
    screen = console()
    with screen.capture() as printed:
        screen.print(batch_page(report))

    page = printed.get()
    assert "lab1.g1 differs from the majority on 1 of 85 prompts" in page
    assert "84/85" in page
    assert "lab1.g4 is drained" in page
    assert "HPGR\\x1b[31m (slot quarantined)" in page
    assert "7 succeeded, 1 failed, 8 skipped of 16; stopped: a sticky fault" in progress_line(report)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        ({"state": "succeeded", "counts": {"succeeded": 1}, "faults": 1}, 0),
        ({"state": "failed", "failures": {"tool": 1}}, 1),
        ({"state": "stopped", "failures": {}}, 4),
        ({"state": "stopped", "failures": {"tool": 1}}, 1),
        ({"state": "failed", "failures": {}}, 4),
        ({"state": "cancelled", "counts": {"cancelled": 1}, "failures": {}}, 1),
    ],
)
def test_the_exit_code_tells_a_dead_card_from_a_failed_job(facts, code):
    assert end_of(BatchDetail.model_validate({**REPORT, **facts})) == code


@pytest.mark.parametrize(("wait", "stop_on"), [([], "never"), (["--timeout", "0"], "sticky_fault")])
def test_a_stress_run_that_is_waited_for_ends_at_a_sticky_fault_unless_it_says_otherwise(tx81, job, wait, stop_on):
    tx81("stress", job, "--slots", "cpu0", "--name", f"ends-{stop_on}", *wait)

    (made,) = tx81("batches", "--name", f"ends-{stop_on}", "-o", "json").document

    assert made["stop_on"] == stop_on
