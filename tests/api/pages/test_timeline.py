"""The timeline page."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from builders.timeline import a_lab

from api.pages.timeline import LEFT, WIDTH, Scale

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def lab(database):
    a_lab(database, name=HOSTILE)


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
    assert browser.get("/timeline?from=0001-01-01T00:00:00Z&to=0001-01-02T00:00:00Z").status_code == 422
    assert browser.get("/timeline?from=2000-01-01T00:00:00Z&to=2000-01-31T00:00:00Z").status_code == 200


def test_a_lab_without_card_groups_says_what_to_do(signed_in):
    assert "There are no card groups here" in signed_in("viewer").get("/timeline").text


def test_round_times_are_marked_and_everything_stays_in_the_picture():
    begin = datetime(2026, 3, 1, 11, 7, tzinfo=UTC)
    scale = Scale(begin, begin + timedelta(hours=6))

    ticks = scale.ticks(UTC)

    assert [at.strftime("%H:%M") for _, at in ticks[:3]] == ["11:30", "12:00", "12:30"]
    assert scale.x(begin - timedelta(days=1)) == LEFT
    assert scale.x(begin + timedelta(days=1)) == WIDTH
