"""What pages show, to whom, and what they do with text that means harm."""

import re
from datetime import timedelta

import pytest
from builders import lifecycle
from sqlalchemy import select

from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import JobState, ServiceState
from orchestrator.storage.tables import Job, Slot

HOSTILE = "<script>alert(1)</script>\u202e'\"><img src=x onerror=alert(1)>"
LIMIT = 150 * 1024
PAGES = ("/", "/board", "/jobs", "/jobs/1")


@pytest.fixture
def lab(database):
    """Eight card groups; one runs a job, one is quarantined, one job waits for g3 and one failed today."""
    with database.write() as session:
        for number in range(8):
            lifecycle.a_slot(session, f"g{number}")
        slots = {slot.name: slot for slot in session.scalars(select(Slot))}
        lifecycle.a_running_attempt(session, lifecycle.a_job(session), slots["g0"])
        slots["g6"].service_state = ServiceState.QUARANTINED
        slots["g6"].quarantined_because = {
            "reason": HOSTILE, "by": "eva", "at": database.now(session).isoformat(),
        }  # fmt: skip
        lifecycle.a_job(session).demand = f"card_group {slots['g0'].id}"
        failed = lifecycle.a_job(session, JobState.FAILED)
        failed.failure = Failure(kind=FailureKind.FAULT, reason=HOSTILE).model_dump(mode="json")
        failed.ended_at = database.now(session)
        return {name: slot.id for name, slot in slots.items()}


def main(page: str) -> str:
    return page.partition("<main")[2]


@pytest.mark.parametrize("path", [*PAGES, "/sign-in", "/jobs/99", "/jobs/x", "/jobs?state=x"])
def test_every_page_runs_only_our_files_and_is_kept_nowhere(signed_in, lab, path):
    answer = signed_in("admin").get(path)

    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert not re.search(
        r"<script(?! src=\"/assets/)|\son\w+=\"|\sstyle=\"|<style|(?:src|href)=\"(?:https?:)?//", answer.text
    )
    assert len(answer.content) < LIMIT


def test_the_board_shows_each_card_group_with_what_is_true_of_it(signed_in, lab):
    page = signed_in("viewer").get("/").text

    tiles = dict(re.findall(r'<article class="tile tile-(?:\w+)" id="slot-([^"]+)"(.*?)</article>', page, re.DOTALL))
    assert set(lab.values()) <= set(tiles)
    assert "running" in tiles[lab["g0"]]
    assert "<progress" in tiles[lab["g0"]]
    assert 'next: <a href="/jobs/2">' in tiles[lab["g0"]]
    assert "quarantined" in tiles[lab["g6"]]
    assert "(eva)" in tiles[lab["g6"]]
    assert "free" in tiles[lab["g5"]]
    assert '<b>1</b> <a href="/jobs?failed_after=' in page


def test_the_board_says_why_the_first_of_the_queue_waits(signed_in, lab):
    page = signed_in("viewer").get("/").text

    assert f"job 1 has {lab['g0']}" in page


def test_the_board_of_an_empty_lab_says_what_to_do_first(signed_in):
    page = signed_in("viewer").get("/").text

    assert "What to do first" in page
    assert page.index("tx81 releases add") < page.index("tx81 models add") < page.index("tx81 run")


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/1", "/jobs/3"])
def test_hostile_text_is_shown_as_text(signed_in, database, lab, path):
    with database.write() as session:
        for job in session.scalars(select(Job)):
            job.name = HOSTILE

    page = main(signed_in("admin").get(path).text)

    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert "<img" not in page


def test_a_page_shows_only_the_orders_that_its_viewer_may_give(signed_in, lab):
    viewer, submitter, operator = (signed_in(scope) for scope in ("viewer", "submitter", "operator"))

    assert "hx-post" not in main(viewer.get("/").text)
    assert "/jobs/orders" not in viewer.get("/jobs").text + viewer.get("/jobs/2").text
    assert "/jobs/orders" in submitter.get("/jobs").text
    assert "/drain" not in submitter.get("/").text
    assert "/drain" in operator.get("/").text


@pytest.mark.parametrize(
    ("scope", "path"),
    [("viewer", "/jobs/orders"), ("submitter", "/slots/lab.g1/drain"), ("viewer", "/slots/lab.g1/drain")],
)
def test_an_order_beyond_the_scope_is_refused(signed_in, lab, scope, path):
    answer = signed_in(scope).post(path, data={"job": "2", "action": "cancel"}, headers={"HX-Request": "true"})

    assert answer.status_code == 403
    assert "this needs the scope" in answer.text


def test_an_operator_drains_a_slot_and_returns_it(signed_in, lab, database):
    browser = signed_in("operator", name="eva")

    drained = browser.post(f"/slots/{lab['g1']}/drain", data={"note": "swap cards"})

    assert drained.status_code == 200
    page = browser.get("/").text
    assert "swap cards" in page
    assert browser.post(f"/slots/{lab['g1']}/resume", data={}).status_code == 200
    with database.read() as session:
        slot = session.get(Slot, lab["g1"])
        assert (slot.service_state, slot.service_change["by"]) == (ServiceState.IN_SERVICE, "eva")


def test_marked_jobs_are_ordered_together_and_each_refusal_is_told(signed_in, lab, database):
    browser = signed_in("submitter")

    told = browser.post("/jobs/orders", data={"job": ["2", "3"], "action": "hold", "note": "later"}).text

    assert "Done for 1 job." in told
    assert "Refused for 1 job:" in told
    with database.read() as session:
        assert session.get(Job, 2).hold["note"] == "later"
    assert (
        "Done for 1 job." in browser.post("/jobs/orders", data={"job": "2", "action": "priority", "priority": "9"}).text
    )


def test_a_job_that_has_not_ended_is_not_retried(signed_in, lab):
    told = signed_in("submitter").post("/jobs/orders", data={"job": ["2", "99"], "action": "retry"}).text

    assert "Refused for 2 jobs:" in told
    assert "cancel it first" in told
    assert "there is no job 99" in told


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"action": "cancel"}, "mark at least one job"),
        ({"action": "explode", "job": "2"}, "action"),
        ({"action": "priority", "job": "2", "priority": "99"}, "priority"),
        ({"action": "hold", "job": "0"}, "job"),
        ({"action": "retry", "job": "x"}, "job"),
        ({"action": "hold", "job": "2", "note": "x" * 501}, "500"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_in_words(signed_in, lab, form, told):
    answer = signed_in("submitter").post("/jobs/orders", data=form, headers={"HX-Request": "true"})

    assert answer.status_code == 422
    assert told in answer.text


def test_filters_are_in_the_address_and_pages_follow_each_other(signed_in, database):
    with database.write() as session:
        for number in range(103):
            lifecycle.a_job(session, name=f"job-{number}")
    browser = signed_in("viewer")

    first = browser.get("/jobs?state=queued&q=job-")
    older = re.search(r'href="(/jobs\?[^"]*cursor[^"]*)"', first.text)[1].replace("&amp;", "&")
    second = browser.get(older)

    assert len(re.findall(r'<tr id="job-', first.text)) == 100
    assert len(re.findall(r'<tr id="job-', second.text)) == 3
    assert "state=queued" in older
    assert len(first.content) < LIMIT
    assert "No job fits these filters" in browser.get("/jobs?q=nothing").text


def test_a_wrong_filter_is_named(signed_in):
    answer = signed_in("viewer").get("/jobs?stat=queued")

    assert answer.status_code == 422
    assert "unknown query parameter" in answer.text


def test_what_failed_before_is_not_counted_today(signed_in, database, lab):
    with database.write() as session:
        session.get(Job, 3).ended_at -= timedelta(days=2)

    assert '<b>0</b> <a href="/jobs?failed_after=' in signed_in("viewer").get("/").text


def test_a_job_says_what_it_waits_for_and_what_may_be_ordered(signed_in, lab):
    page = signed_in("submitter").get("/jobs/2").text

    assert f"job 1 has {lab['g0']}" in page
    assert "Nothing was tried yet." in page
    assert '"action": "hold"' in page
    assert "curl -H" in page


def test_what_is_missing_and_what_is_forbidden_are_pages_too(signed_in):
    missing = signed_in("viewer").get("/jobs/99")

    assert missing.status_code == 404
    assert "There is no such thing here" in missing.text
    assert "there is no job 99" in missing.text


def test_what_jobs_made_is_opened_in_a_sandbox(signed_in, lab):
    assert signed_in("viewer").get("/api/v1/jobs/1").headers["content-security-policy"] == "sandbox"
