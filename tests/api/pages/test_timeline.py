"""The timeline page, and the route behind it."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from builders import lifecycle
from builders.results import a_run
from builders.rows import A_MOMENT, a_slot_row
from sqlalchemy import update

from api.pages.timeline import LEFT, WIDTH, Scale
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Attempt, Slot

HOSTILE = "<script>alert(1)</script>"
PAST = {"begin": "2026-03-01T11:00:00Z", "end": "2026-03-01T13:00:00Z"}


@pytest.fixture
def lab(database):
    """g0 runs a job now, and another waits for it; on g1 one failed and one succeeded at `A_MOMENT`."""
    with database.write() as session:
        first = lifecycle.a_slot(session, "g0")
        a_slot_row(session, "lab1.g1")
        a_slot_row(session, "lab1.cpu0")
        lifecycle.a_running_attempt(session, lifecycle.a_job(session, name=HOSTILE), first)
        lifecycle.a_job(session).demand = f"card_group {first.id}"
        for place, facts in enumerate([{"state": JobState.FAILED, "failure": {"kind": "tool", "reason": "x"}}, {}]):
            job = a_run(session, slot="lab1.g1", **facts)
            start = A_MOMENT + timedelta(minutes=10 * place)
            times = {"assigned_at": start, "started_at": start, "ended_at": start + timedelta(minutes=8)}
            session.execute(update(Attempt).where(Attempt.job_id == job).values(**times))
        assert session.get_one(Slot, "lab1.g0")


def test_what_ran_between_two_times_is_answered_for_each_card_group(http, lab):
    found = http.get("/timeline", params=PAST).json()

    assert [lane["slot_id"] for lane in found["lanes"]] == ["lab1.g0", "lab1.g1"]
    assert found["lanes"][0]["spans"] == []
    assert [(span["kind"], span["state"]) for span in found["lanes"][1]["spans"]] == [
        ("ran", "failed"), ("ran", "succeeded"),
    ]  # fmt: skip
    assert http.get("/timeline", params={**PAST, "host": "other"}).json()["lanes"] == []


def test_an_attempt_across_the_end_of_the_window_is_found(http, lab):
    found = http.get("/timeline", params={**PAST, "end": "2026-03-01T12:04:00Z"}).json()

    assert [span["state"] for span in found["lanes"][1]["spans"]] == ["failed"]


def test_a_card_group_out_of_service_and_one_reserved_are_spans_too(http, lab):
    http.post("/slots/lab1.g1/drain", json={"note": "swap"})
    now = datetime.now(UTC)
    starts, ends = ((now + timedelta(hours=hours)).isoformat() for hours in (0.5, 1))
    http.post("/reservations", json={"slots": ["lab1.g1"], "starts_at": starts, "ends_at": ends})
    window = {"begin": (now - timedelta(hours=1)).isoformat(), "end": (now + timedelta(hours=2)).isoformat()}

    spans = http.get("/timeline", params=window).json()["lanes"][1]["spans"]

    assert {(span["kind"], span["state"]) for span in spans} == {("out", "drained"), ("reserved", "reserved")}
    assert [span["end"] is None for span in spans if span["kind"] == "out"] == [True]


@pytest.mark.parametrize(
    ("change", "field"),
    [({"end": PAST["begin"]}, "begin"), ({"end": "2026-09-01T00:00:00Z"}, "end"), ({"begin": "5"}, "begin")],
)
def test_a_window_that_makes_no_sense_is_refused(http, change, field):
    answer = http.get("/timeline", params={**PAST, **change})

    assert (answer.status_code, answer.json()["field"]) == (422, field)


def test_the_page_has_a_lane_a_bar_a_link_and_what_comes_next(signed_in, lab):
    page = signed_in("viewer").get("/timeline").text.partition("<main")[2]

    assert re.findall(r'<text class="name"[^>]*>([^<]*)<', page) == ["lab1.g0", "lab1.g1"]
    assert re.search(r'<a class="bar bar-running" href="/jobs/1"><title>1 &lt;script&gt;', page)
    assert re.search(r'<a class="bar forecast" href="/jobs/2">', page)
    assert "<script" not in page
    assert 'class="now"' in page


def test_a_window_in_the_address_is_shown_and_has_others_around_it(signed_in, lab):
    browser = signed_in("viewer")

    page = browser.get("/timeline?from=2026-03-01T11:00:00Z&to=2026-03-01T13:00:00Z").text
    earlier = re.search(r'href="([^"]*)" aria-label="Earlier"', page)[1].replace("&amp;", "&")

    assert page.count('class="bar bar-failed"') == 1
    assert 'class="now"' not in page
    assert "from=2026-03-01T10" in earlier
    assert browser.get(earlier).status_code == 200
    assert browser.get("/timeline?from=2026-03-01T11:00:00Z").status_code == 422
    assert browser.get("/timeline?hours=0").status_code == 422


def test_a_lab_without_card_groups_says_what_to_do(signed_in):
    assert "There are no card groups here" in signed_in("viewer").get("/timeline").text


def test_round_times_are_marked_and_everything_stays_in_the_picture():
    begin = datetime(2026, 3, 1, 11, 7, tzinfo=UTC)
    scale = Scale(begin, begin + timedelta(hours=6))

    ticks = scale.ticks(UTC)

    assert [at.strftime("%H:%M") for _, at in ticks[:3]] == ["11:30", "12:00", "12:30"]
    assert scale.x(begin - timedelta(days=1)) == LEFT
    assert scale.x(begin + timedelta(days=1)) == WIDTH
