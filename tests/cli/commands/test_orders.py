import json
import sqlite3
from pathlib import Path

import pytest


@pytest.fixture
def many(at_site, tx81, request) -> list[int]:
    """Three jobs of a project of their own, that nobody will run."""
    project = f"p{abs(hash(request.node.name))}"[:20]
    spec = {"kind": "quantize", "model": "tiny"}
    made = [{"name": f"n{i}", "project": project, "spec": spec, "use_cache": False} for i in range(3)]
    Path("jobs.json").write_text(json.dumps(made))
    return [job["id"] for job in tx81("submit", "jobs.json", "--output", "json").document]


@pytest.fixture
def slots(site, at_site) -> list[str]:
    """Two slots of a host whose workers are away."""
    database = sqlite3.connect(site.token_file.with_name("tx81.db"))
    with database:
        for name in ("g0", "g1"):
            database.execute(
                "INSERT OR REPLACE INTO slot (id, host, name, kind, service_state) VALUES (?, 'lab9', ?, ?, ?)",
                (f"lab9.{name}", name, "card_group", "in_service"),
            )
    database.close()
    return ["lab9.g0", "lab9.g1"]


def _jobs(tx81, numbers) -> list[dict]:
    return [tx81("show", number, "--output", "json").document for number in numbers]


def test_several_jobs_are_held_and_released_and_the_listing_says_by_whom(tx81, many):
    held = tx81("hold", *many, "--note", "等新的 kcore")
    listed = tx81("jobs", "--project", _jobs(tx81, many)[0]["project"]).out
    released = tx81("unhold", *many, "--output", "json")

    assert (held.code, held.out.count("done")) == (0, 3)
    assert listed.count("held by admin: 等新的 kcore") == 3
    assert (released.code, released.document["done"]) == (0, 3)
    assert not any(job["held"] for job in _jobs(tx81, many))


def test_release_is_the_old_name_of_unhold(tx81, many):
    tx81("hold", *many)

    codes = [tx81("release", many[0]).code, tx81("unhold", *many[1:]).code]

    assert codes == [0, 0]
    assert not any(job["held"] for job in _jobs(tx81, many))


def test_a_project_is_reprioritised_and_moved_and_cancelled_at_once(tx81, many):
    project = _jobs(tx81, many)[0]["project"]

    codes = [
        tx81("priority", "--to", 9, "--project", project).code,
        tx81("front", "--project", project, "--state", "queued").code,
    ]
    between = _jobs(tx81, many)
    codes.append(tx81("cancel", "--project", project, "--note", "wrong model").code)

    assert codes == [0, 0, 0]
    assert all((job["priority"], job["rank"] < 0) == (9, True) for job in between)
    assert {job["failure"]["reason"] for job in _jobs(tx81, many)} == {"cancelled by admin: wrong model"}


def test_a_named_job_that_is_cancelled_shows_and_explains_who_did_it_and_why(tx81, many):
    cancelled = tx81("cancel", many[0], "--note", "wrong model")

    assert cancelled.code == 0
    for command in ("show", "explain"):
        page = " ".join(tx81(command, many[0]).out.split())
        assert "cancelled by admin: wrong model" in page


def test_what_was_refused_is_told_and_the_rest_is_done(tx81, many):
    tx81("cancel", many[0])

    ran = tx81("hold", *many)

    assert ran.code == 5
    assert (ran.out.count("done"), ran.out.count("refused")) == (2, 1)
    assert "retry makes a new one" in ran.out


def test_a_pipeline_is_held_as_one(at_site, tx81):
    convert = {"spec": {"kind": "convert", "model": "tiny", "backend_type": "qwen2_7b_bf16"}}
    compiled = {"spec": {"kind": "compile", "c_source": {"job": "convert", "artifact": "c_source"}}}
    Path("p.json").write_text(json.dumps({"name": "p", "jobs": {"convert": convert, "compile": compiled}}))
    pipeline = tx81("submit", "p.json", "--output", "json").document["id"]

    ran = tx81("hold", "--pipeline", pipeline, "--output", "json")

    assert (ran.code, ran.document["done"]) == (0, 2)
    assert tx81("cancel", "--pipeline", pipeline, "--output", "json").document["done"] == 2


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["hold"], "at least one job"),
        (["hold", "1", "--project", "p"], "or use"),
        (["unhold"], "at least one job"),
        (["priority", "1", "--to", "10"], "priority"),
        (["priority", "1"], "--to"),
        (["front", "x"], "x"),
        (["hold", "--kind", "-v"], "kind"),
        (["slots", "drain"], "HOST.g3"),
        (["slots", "drain", "lab9.g0", "--host", "lab9"], "--host"),
        (["slots", "drain", "--host", "nowhere"], "nowhere"),
        (["slots", "quarantine", "nowhere.g0"], "no slot"),
    ],
)
def test_wrong_usage_is_one_line_that_names_the_remedy(at_site, tx81, argv, told):
    ran = tx81(*argv)

    assert (ran.code in (2, 5), ran.out, ran.err.count("\n")) == (True, "", 1)
    assert told in ran.err


def test_a_filter_that_fits_nothing_is_no_mistake(at_site, tx81):
    ran = tx81("hold", "--project", "nobody")

    assert ran.code == 0
    assert "no job matches" in ran.err


def test_a_host_is_drained_with_a_note_and_resumed(tx81, slots):
    drained = tx81("slots", "drain", "--host", "lab9", "--note", "new cooling", "--wait", "--output", "json")
    listed = tx81("slots").out
    resumed = tx81("slots", "resume", *slots, "--output", "json")

    assert (drained.code, [slot["service_state"] for slot in drained.document]) == (0, ["drained"] * 2)
    assert listed.count("new cooling (by admin)") == 2
    assert [slot["service_state"] for slot in resumed.document] == ["in_service"] * 2


def test_a_quarantined_slot_shows_why_in_the_listing(tx81, slots):
    tx81("slots", "quarantine", slots[0], "--note", "answers differ")

    assert "answers differ (by admin)" in tx81("slots").out


@pytest.mark.parametrize("other", ["lab9.g99", "lab9.gx/../lab9.g1", "lab9.g1?x=1", "..", ""])
@pytest.mark.parametrize("change", ["drain", "quarantine", "resume"])
def test_slots_of_which_one_does_not_exist_are_not_changed(tx81, slots, change, other):
    ran = tx81("slots", change, slots[0], other)

    assert (ran.code, ran.err.count("\n")) == (5, 1)
    assert "none was changed" in ran.err
    states = [slot["service_state"] for slot in tx81("slots", "--output", "json").document if slot["id"] in slots]
    assert states == ["in_service"] * 2


@pytest.mark.parametrize("argv", [["slots", "show"], ["releases", "show"], ["suites", "show"]])
@pytest.mark.parametrize("name", ["../jobs/1", "a/b", "..", "", "a?b=c", "a%2fb"])
def test_the_name_of_nothing_is_refused_and_never_part_of_a_path(at_site, tx81, argv, name):
    ran = tx81(*argv, name)

    assert (ran.code, ran.out, ran.err.count("\n")) == (5, "", 1)
    assert "nothing called" in ran.err or "a name is" in ran.err
