"""Suites and schedules from the shell; nobody runs their jobs here."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from xml.etree import ElementTree

import pytest

SUITE = """\
name: {name}
matrix:
  models: [tiny]
  backend_types: [qwen2_7b_bf16]
  prompts:
    basic:
      prompts: {{path: {prompts}}}
repeats: 2
"""

CELL = "model=tiny,backend_type=qwen2_7b_bf16,prompts=basic"


@pytest.fixture
def written(at_site) -> str:
    """The text of a suite that can be applied."""
    return SUITE.format(name="nightly", prompts=at_site.tools["prompts"])


@pytest.fixture
def applied(tx81, written) -> str:
    Path("nightly.yaml").write_text(written)
    assert tx81("suites", "apply", "nightly.yaml").code == 0
    return "nightly"


@pytest.fixture
def run(tx81, applied) -> int:
    return tx81("suites", "run", applied, "--output", "json").document["id"]


def _judged(site, run: int, verdict: str) -> None:
    """Give a run its verdict, as the dispatcher would."""
    cell = {
        "verdict": verdict, "outcome": "unjudged", "why": "3 of 3 answers changed", "remedy": None, "baseline": 1,
        "slots": ["lab1.g0"], "jobs": {"measure": [1]}, "comparison": None, "same": None, "other": None,
    }  # fmt: skip
    values = (verdict, "3 of 3 answers changed", json.dumps({"cells": {CELL: cell}}), run)
    with closing(sqlite3.connect(site.token_file.parent / "tx81.db")) as database, database:
        database.execute(
            "UPDATE suite_run SET ended_at = '2026-12-01 08:00:00.000000', verdict = ?, why = ?, report = ?, cells = 1,"
            " alarms = 0, false_alarms = 0 WHERE id = ?",
            values,
        )


def test_a_suite_is_applied_shown_and_listed(tx81, applied):
    shown = tx81("suites", "show", applied)
    listed = tx81("suites")

    assert (shown.code, CELL in shown.out) == (0, True)
    assert (listed.code, applied in listed.out) == (0, True)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("models: [tiny]", "models: [tiny, gone]", "nightly.yaml line 3: matrix.models.1: model gone is not"),
        ("repeats: 2", "repeat: 2", "nightly.yaml line 8: repeat: unknown field"),
        ("repeats: 2", "repeats: many", "nightly.yaml line 8: repeats: "),
        ("repeats: 2", "gates: {output_throughput: {}}", "budget"),
        ("qwen2_7b_bf16", "llama9", "nightly.yaml line 4: matrix.backend_types.0: "),
        ("prompts: {path", "prompts: {paths", "line 7: matrix.prompts.basic.prompts"),
        ("repeats: 2", "repeats: 2\nrepeats: 3", "line 9: repeats: is given a second time"),
        ("name: nightly", "name: -x", "line 1: name: "),
    ],
)
def test_a_suite_that_makes_no_sense_is_one_line_with_line_and_field(tx81, written, old, new, said):
    Path("nightly.yaml").write_text(written.replace(old, new))

    ran = tx81("suites", "apply", "nightly.yaml")

    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert said in ran.err


@pytest.mark.parametrize(
    ("verdict", "code"),
    [
        ("same", 0), ("better", 0), ("known", 0), ("worse", 1), ("unknown", 2), ("missing", 2), ("not_comparable", 2),
        ("infrastructure", 4),
    ],
)  # fmt: skip
def test_the_exit_code_is_the_verdict(tx81, at_site, run, verdict, code):
    _judged(at_site, run, verdict)

    waited = tx81("suites", "wait", run, "--junit", "out.xml")
    gate = tx81("suites", "gate", "nightly", "--output", "json")

    assert (waited.code, gate.code) == (code, code)
    assert gate.document["id"] == run
    assert CELL in waited.out
    assert ElementTree.parse("out.xml").getroot()[0].get("tests") == "1"


def test_a_gate_without_a_verdict_and_a_run_that_takes_too_long_are_no_pass(tx81, at_site):
    Path("new.yaml").write_text(SUITE.format(name="new", prompts=at_site.tools["prompts"]))
    tx81("suites", "apply", "new.yaml")

    gate = tx81("suites", "gate", "new")
    waited = tx81("suites", "run", "new", "--timeout", 0)

    assert (gate.code, "was not judged yet" in gate.err) == (2, True)
    assert (waited.code, "tx81 suites wait" in waited.err) == (124, True)


def test_a_place_that_cannot_be_written_is_refused_before_a_run_is_started(tx81, applied):
    before = tx81("suites", "runs", applied, "--output", "json").document

    ran = tx81("suites", "run", applied, "--junit", "nowhere/out.xml")

    assert (ran.code, "--junit" in ran.err) == (2, True)
    assert tx81("suites", "runs", applied, "--output", "json").document == before


def test_a_run_is_shown_with_its_suite_only(tx81, at_site, run):
    _judged(at_site, run, "worse")

    shown = tx81("suites", "show", "nightly", "--run", run)
    other = tx81("suites", "show", "other", "--run", run)

    assert (shown.code, "3 of 3 answers changed" in shown.out) == (0, True)
    assert (other.code, "is of suite nightly" in other.err) == (2, True)


def test_a_schedule_is_set_and_shown_with_its_next_times_and_paused(tx81, applied):
    words = ["--suite", applied, "--cron", "30 2 * * 1-5", "--zone", "Asia/Shanghai", "--max-age", "26h"]
    made = tx81("schedules", "set", "night", *words, "--output", "json")
    paused = tx81("schedules", "pause", "night")
    listed = tx81("schedules")
    resumed = tx81("schedules", "resume", "night", "--output", "json")
    ran = tx81("schedules", "run", "night", "--output", "json")
    shown = tx81("schedules", "show", "night")
    removed = tx81("schedules", "remove", "night")

    assert (len(made.document["next_times"]), made.document["max_age_seconds"]) == (5, 93600)
    assert "26 h" in shown.out
    assert "firings" not in shown.out
    assert (paused.code, listed.code, "paused" in listed.out) == (0, 0, True)
    assert (resumed.document["paused"], ran.document["schedule"]) == (False, "night")
    assert f"run {ran.document['id']}: running" in shown.out
    assert (removed.code, tx81("schedules", "show", "night").code) == (0, 5)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--cron", "0 0 30 2 *"], "cron: bad day-of-month, or no date has all of these and it never fires"),
        (["--cron", "0 2 * * *", "--zone", "Mars/X"], "zone: there is no time zone 'Mars/X'"),
        (["--cron", "0 2 * * *", "--max-age", "soon"], "--max-age: 'soon' is not a duration"),
        (["--cron", "0 2 * * *", "--missed", "run_all"], "run_all needs overlap: queue"),
    ],
)
def test_a_schedule_that_makes_no_sense_is_one_line(tx81, applied, words, said):
    ran = tx81("schedules", "set", "night", "--suite", applied, *words)

    assert (ran.code, ran.err.count("\n")) == (2, 1)
    assert said in ran.err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--a", "1", "--b", "1"], "a and b are the same job"),
        (["--a", "1", "--b", "2", "--slot", "g0"], "slot: name the host too"),
        (["--a", "1", "--b", "2", "--blocks", "1"], "blocks: "),
        (["--a", "9999998", "--b", "9999999"], "a: there is no job 9999998"),
    ],
)
def test_what_cannot_be_measured_side_by_side_is_one_line(tx81, at_site, words, said):
    ran = tx81("ab", "--slot", "lab1.g0", *words) if "--slot" not in words else tx81("ab", *words)

    assert (ran.code in (2, 5), ran.err.count("\n")) == (True, 1)
    assert said in ran.err
