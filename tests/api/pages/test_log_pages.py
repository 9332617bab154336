"""The page of a log and the parts that its script asks for."""

import re

import pytest
from builders import lifecycle

from orchestrator.model.states import JobState
from orchestrator.storage import live_logs

HOSTILE = "<script>alert(1)</script>\u202e\x1b[31m<img src=x>\x1b]0;x\x07"


@pytest.fixture
def lab(database):
    """Job 1 runs for the second time, job 2 took its result, job 3 has not run."""
    with database.write() as session:
        lifecycle.a_slot(session, "g0")
        attempt = lifecycle.a_running_attempt(session)
        steps = "".join(f"step {n}\n" for n in range(1, 1001)).encode()
        live_logs.append(session, attempt.id, 0, steps)
        live_logs.append(session, attempt.id, len(steps), f"{HOSTILE}\n".encode())
        lifecycle.a_waiting_job(session, cached_from=1)
        lifecycle.a_job(session, JobState.QUEUED)


def numbers(page: str) -> list[int]:
    return [int(number) for number in re.findall(r'id="L(\d+)"', page)]


def test_the_page_has_the_last_lines_and_where_to_get_the_others(signed_in, lab):
    page = signed_in("viewer").get("/jobs/1/log").text

    assert numbers(page) == list(range(802, 1002))
    assert 'data-lines="/jobs/1/log/lines?attempt=1"' in page
    assert 'href="/api/v1/jobs/1/log?attempt=1"' in page
    assert 'download="job-1-attempt-1.log"' in page
    assert "tx81 logs 1 --attempt 1" in page


def test_hostile_lines_are_text(signed_in, lab):
    page = signed_in("viewer").get("/jobs/1/log").text.partition("<main")[2]

    assert "&lt;script&gt;alert(1)" in page
    assert '<span class="fg-1">&lt;img src=x&gt;</span>' in page
    assert not re.search("<script|<img|\x1b|\u202e", page)


def test_a_part_has_the_lines_that_were_asked_for(signed_in, lab):
    browser = signed_in("viewer")
    expected = {"from_line=1": (1, 200), "before=500&limit=10": (490, 499), "from_line=1000&limit=500": (1000, 1001)}

    for asked, (first, last) in expected.items():
        part = browser.get(f"/jobs/1/log/lines?attempt=1&{asked}").text
        assert numbers(part) == list(range(first, last + 1))
        assert f'data-first="{first}" data-last="{last}" data-total="1001">' in part
        assert "<html" not in part


def test_a_part_of_a_complete_log_says_so(signed_in, database):
    with database.write() as session:
        lifecycle.a_job(session, JobState.FAILED)

    assert 'data-first="1" data-last="0" data-total="0" data-over' in signed_in("viewer").get("/jobs/1/log/lines").text


def test_a_job_without_a_log_of_its_own_leads_to_the_one_that_ran(signed_in, lab):
    browser = signed_in("viewer")

    assert 'href="/jobs/1/log"' in browser.get("/jobs/2/log").text
    assert "This job has not run" in browser.get("/jobs/3/log").text


def test_what_is_not_there_is_said(signed_in, lab):
    browser = signed_in("viewer")
    expected = {
        "/jobs/99/log": 404,
        "/jobs/1/log?attempt=7": 404,
        "/jobs/1/log/lines?attempt=7": 404,
        "/jobs/1/log/lines?from_line=0": 422,
        "/jobs/1/log/lines?from_line=1&before=5": 422,
        "/jobs/1/log/lines?limit=501": 422,
        "/jobs/1/log?wrong=1": 422,
    }

    assert {path: browser.get(path).status_code for path in expected} == expected


def test_the_longest_lines_make_a_small_page(signed_in, database):
    with database.write() as session:
        lifecycle.a_slot(session, "g0")
        attempt = lifecycle.a_running_attempt(session)
        for piece in range(10):
            live_logs.append(session, attempt.id, piece * 60_000, (b"<" * 99 + b"\n") * 600)

    assert len(signed_in("viewer").get("/jobs/1/log").content) < 150 * 1024
