"""Lists of jobs, pipelines and batches: whose, when, how far, how many; and short names of slots."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

QUANTIZE = {"spec": {"kind": "quantize", "model": "tiny"}, "use_cache": False, "project": "lists"}


@pytest.fixture
def pipeline(at_site, tx81) -> int:
    """A pipeline whose only job nobody runs."""
    document = {"name": "of-lists", "project": "lists", "jobs": {"q": QUANTIZE}}
    Path("pipeline.json").write_text(json.dumps(document))
    return tx81("submit", "pipeline.json", "-o", "json").document["id"]


@pytest.fixture
def three(at_site, tx81, tmp_path) -> list[int]:
    """Jobs of a project that no other test has."""
    project = f"p{abs(hash(str(tmp_path)))}"
    Path("jobs.json").write_text(json.dumps([{**QUANTIZE, "project": project}] * 3))
    return [job["id"] for job in tx81("submit", "jobs.json", "-o", "json").document], project


def test_a_list_says_whose_a_job_is_and_when_it_was_submitted(tx81, queued):
    relative, absolute = tx81("jobs", "-n", 1).out, tx81("jobs", "-n", 1, "--times", "absolute").out

    assert "admin" in relative
    assert "s ago" in relative
    assert "+" in absolute.splitlines()[1].split("queued")[1] or "-" in absolute.splitlines()[1]


def test_a_list_that_is_cut_says_that_there_is_more(tx81, three):
    _, project = three

    cut, whole = (tx81("jobs", "--project", project, "-n", limit, "-o", "json") for limit in (2, 3))

    assert (len(cut.document), len(whole.document)) == (2, 3)
    assert "--limit" in cut.err
    assert whole.err == ""


def test_quiet_prints_numbers_alone(tx81, three):
    numbers, project = three

    ran = tx81("jobs", "--project", project, "-q")

    assert ran.out.split() == [str(number) for number in reversed(numbers)]


@pytest.mark.parametrize("what", ["jobs", "pipelines", "batches"])
def test_mine_are_those_submitted_with_this_token(tx81, pipeline, queued, what, monkeypatch):
    mine = tx81(what, "--mine", "-o", "json").document
    monkeypatch.setenv("TX81_TOKEN", tx81("tokens", "create", f"of-{what}", "--scope", "viewer").out.strip())
    theirs = tx81(what, "--mine", "-o", "json").document
    by_name = tx81(what, "--user", "admin", "-o", "json").document

    assert {each["submitted_by"] for each in mine} <= {"admin"}
    assert theirs == []
    assert by_name == mine


def test_since_takes_a_duration_and_refuses_the_future(tx81, queued):
    recent = tx81("jobs", "--since", "1h", "-q").out.split()
    future, nonsense = tx81("jobs", "--since", "2999-01-01"), tx81("jobs", "--since", "soon")

    assert str(queued) in recent
    assert (future.code, nonsense.code) == (2, 2)
    assert "in the future" in future.err


def test_jobs_are_found_by_name_and_by_a_part_of_it(tx81, queued):
    named, searched, none = (
        tx81("jobs", *words, "-q").out.split()
        for words in (["--name", "stays-queued"], ["--search", "QUEUE"], ["--name", "queue"])
    )

    assert str(queued) in named
    assert str(queued) in searched
    assert none == []


def test_a_pipeline_is_shown_held_and_cancelled(tx81, pipeline):
    shown = tx81("pipelines", "show", pipeline)
    held = tx81("pipelines", "hold", pipeline, "--note", "wait")
    cancelled = tx81("pipelines", "cancel", pipeline, "--note", "wrong model")
    job = tx81("jobs", "--pipeline", pipeline, "-o", "json").document[0]
    again, unknown = tx81("pipelines", "cancel", pipeline), tx81("pipelines", "show", 999999)

    assert [ran.code for ran in (shown, held, cancelled)] == [0, 0, 0]
    assert "of-lists" in shown.out
    assert "by admin" not in shown.err
    assert (job["cancel"]["by"], job["cancel"]["why"]) == ("admin", "wrong model")
    assert "cancelled by admin: wrong model" in tx81("show", job["id"]).out
    assert (again.code, unknown.code) == (5, 5)


def test_a_list_of_pipelines_says_how_far_each_is(tx81, pipeline):
    page = tx81("pipelines", "list", "-n", 1).out

    assert "0/1" in page
    assert "admin" in page


@pytest.fixture
def slots(site) -> Iterator[None]:
    """g6 on one host, g7 on two."""
    with sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30) as database:
        for host, name in (("short1", "g6"), ("short1", "g7"), ("short2", "g7")):
            database.execute(
                "INSERT OR IGNORE INTO slot (id, host, name, kind, service_state)"
                " VALUES (?, ?, ?, 'card_group', 'in_service')",
                (f"{host}.{name}", host, name),
            )
    yield
    with sqlite3.connect(site.token_file.with_name("tx81.db"), timeout=30) as database:
        database.execute("DELETE FROM slot WHERE host LIKE 'short%'")


def test_a_short_name_is_the_slot_of_the_only_host_that_has_it(tx81, at_site, slots):
    one, several, none = (tx81("slots", "show", name, "-o", "json") for name in ("g6", "g7", "g5"))

    assert one.document["id"] == "short1.g6"
    assert several.code == 2
    assert "short1.g7, short2.g7" in several.err
    assert none.code in (2, 5)


UNKNOWN = {
    "slot g99": (["jobs", "--slot", "g99"], ["results", "metrics", "--slot", "g99"], ["doubts", "--slot", "g99"],
                 ["reservations", "--slot", "g99"]),
    "model tiyn": (["jobs", "--model", "tiyn"], ["endpoints", "--model", "tiyn"],
                   ["results", "answers", "--model", "tiyn"]),
    "release r9": (["results", "metrics", "--release", "r9"],),
    "project nope": (["jobs", "--project", "nope", "-q"], ["pipelines", "--project", "nope"],
                     ["batches", "--project", "nope"], ["cancel", "--project", "nope"]),
    "user nobody": (["jobs", "--user", "nobody"], ["batches", "--user", "schedule nobody"]),
    "suite nope": (["cases", "--suite", "nope"], ["baselines", "--suite", "nope"]),
    "batch 999": (["jobs", "--batch", "999"], ["results", "answers", "--batch", "999"]),
    "pipeline 999": (["jobs", "--pipeline", "999"],),
    "job 999": (["artifacts", "--job", "999"], ["doubts", "--job", "999"], ["results", "metrics", "999"]),
}  # fmt: skip


@pytest.mark.parametrize(("what", "command"), [(what, line) for what, lines in UNKNOWN.items() for line in lines])
def test_an_empty_list_says_which_of_its_filters_names_nothing(tx81, at_site, what, command):
    ran, document = tx81(*command), tx81(*command, "--output", "json")

    thing = what.split()[0]
    assert (ran.code, document.code) == (0, 0)
    assert f"no {thing} " in ran.err
    assert "lists them" in ran.err
    assert document.document in ([], {"items": [], "done": 0, "refused": 0, "left": 0})
    assert ("did you mean tiny?" in ran.err) == (thing == "model")


def test_a_filter_that_names_something_is_not_reported_whatever_the_list(tx81, queued):
    ran = tx81("jobs", "--model", "tiny", "--user", "admin", "--project", "default", "--name", "is-not-there")

    assert (ran.code, ran.err) == (0, "")
