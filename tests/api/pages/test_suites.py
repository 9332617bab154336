"""The pages of suites, their runs, series and cases."""

import re
from datetime import timedelta

import pytest
from builders.desk import a_desk
from builders.suites import Outcome, SuiteDesk

from orchestrator.model.schedules import ScheduleDocument
from orchestrator.suites import schedules

CELL = "model%3Dqwen%2Cprompts%3Dbasic"
LIMIT = 150 * 1024


@pytest.fixture
def suite(database, store, tmp_path) -> SuiteDesk:
    """A suite that was good once and then slower and with other answers, so that there is a case; with a schedule."""
    outcomes = iter([*[Outcome()] * 6, *[Outcome(throughput=50.0, answer="<img src=x>五")] * 100])
    desk = SuiteDesk(a_desk(database, store, tmp_path), world=lambda _job, _slot: next(outcomes))
    desk.apply()
    desk.accept(desk.run().id)
    desk.run()
    desk.run()
    document = ScheduleDocument.model_validate({"suite": "nightly", "cron": "0 2 * * *", "zone": "Asia/Shanghai"})
    with database.write() as session:
        schedules.set_schedule(session, "every-night", document, by="alice", now=database.now(session))
    return desk


def main(page: str) -> str:
    return page.partition("<main")[2]


def test_a_suite_is_case_by_run_and_its_series_have_level_band_and_table(signed_in, suite):
    browser = signed_in("viewer")

    page = main(browser.get("/suites/nightly").text)
    runs = re.findall(r'class="round"><a href="/suite-runs/(\d+)"', page)
    cells = re.findall(r'<td class="cell cell-([^"]*)"><a [^>]*><b>(.)</b>\s*(.*?)</a>', page)

    assert runs == ["3", "2", "1"]
    assert (cells[0][:2], cells[1]) == (("model_or_toolchain", "▼"), ("same", "=", "3/3"))
    assert cells[0][2].startswith("model or toolchain 0/3")
    assert "hx-post" not in page
    assert "No case was judged" in browser.get("/suites/nightly?q=nothing").text
    for path in ("/suites", "/suites/nightly", "/suite-runs/3", "/series", "/cases", "/cases/1"):
        answer = browser.get(path)
        assert (answer.status_code, len(answer.content) < LIMIT, "<img" in answer.text) == (200, True, False)
        assert not re.search(r"\son\w+=\"|\sstyle=\"|<style|<script(?! src=\"/assets/)", answer.text)

    address = f"/series?suite=nightly&amp;cell={CELL}&amp;metric=output_throughput"

    listed = browser.get("/series").text
    page = browser.get(address.replace("&amp;", "&")).text

    assert f'href="{address}"' in listed
    plot = re.search(r'data-plot="([^"]*)"', page)[1].replace("&#34;", '"')
    assert '"value": [100.0, 100.0, 50.0]' in plot
    assert '"band": [100.0, 100.0]' in plot
    assert len(re.findall(r'<tr><td><a href="/suite-runs/', page)) == 3
    assert browser.get(f"/series?cell={CELL}").status_code == 422
    assert browser.get(f"/series?suite=nightly&cell={CELL}&metric=unknown").status_code == 404


def test_suites_schedules_and_cases_are_ordered_by_who_may(signed_in, suite, database):
    viewer, submitter = signed_in("viewer"), signed_in("submitter")

    for path in ("/suites/nightly/runs", "/schedules/every-night/orders", "/cases/1/orders"):
        assert viewer.post(path, data={"action": "run"}).status_code == 403
    assert 'href="/suite-runs/4"' in submitter.post("/suites/nightly/runs", data={"purpose": "aa"}).text
    assert 'href="/suite-runs/5"' in submitter.post("/schedules/every-night/orders", data={"action": "run"}).text
    assert "paused" in submitter.post("/schedules/every-night/orders", data={"action": "pause"}).text
    assert "‖ paused" in submitter.get("/suites").text
    assert submitter.post("/schedules/every-night/orders", data={"action": "explode"}).status_code == 404
    assert submitter.post("/suites/nightly/runs", data={"purpose": "x"}).status_code == 422
    _case_is_worked_on(signed_in("submitter", name="eva"), database)


def _case_is_worked_on(browser, database):
    """Accepted until a day of the viewer, commented, closed and opened again."""
    browser.cookies.set("zone", "Asia/Shanghai")
    with database.read() as session:
        day = (database.now(session) + timedelta(days=9)).date().isoformat()

    def ordered(action, **fields):
        answer = browser.post("/cases/1/orders", data={"action": action, **fields}, headers={"HX-Request": "true"})
        return answer.status_code, answer.text

    link = "https://issues.example/7"
    assert "compare?of=run:2&amp;of=run:3" in browser.get("/cases").text
    assert "accepted" in ordered("accept", until=day, reason="known <b>issue", link=link)[1]
    page = main(browser.get("/cases/1").text)
    assert "known &lt;b&gt;issue" in page
    assert f'href="{link}"' in page
    assert "11:59" in page
    assert "until" in ordered("accept", until="tomorrow", reason="x")[1]
    assert ordered("accept", until=day, reason="x", link="javascript:alert(1)")[0] == 422
    assert ordered("comment", reason="looked at")[0] == 200
    assert ordered("close")[0] == 422
    assert "closed" in ordered("close", reason="fixed")[1]
    assert "No open case" in browser.get("/cases").text
    assert "Case 1" in browser.get("/cases?closed=true").text
    assert ordered("reopen", reason="not fixed")[0] == 200
    assert ordered("explode")[0] == 404


def test_a_lab_without_suites_says_what_they_are(signed_in):
    browser = signed_in("viewer")

    assert "There are no suites yet" in browser.get("/suites").text
    assert "There are no series yet" in browser.get("/series").text
    assert "No open case" in browser.get("/cases").text
    assert browser.get("/suites/none").status_code == 404
    assert browser.get("/series?suite=none").status_code == 404
    assert browser.get("/series?suite=x&cell=%3Cscript%3E&metric=y").status_code == 422
    assert browser.get("/suite-runs/9").status_code == 404
