"""Pages of results in a real browser: live, with orders, the plot of a series, the keyboard.

Every test fails on a request to anywhere else, on a violation of the policy of our pages, and on an error of a script.
"""

import re
from datetime import timedelta

import pytest
from builders.browsers import needs_chromium
from builders.desk import a_desk
from builders.results import KCORE, PROMPTS, a_batch, a_run
from builders.rows import A_MOMENT, a_job_row, a_slot_row
from builders.suites import SuiteDesk
from playwright.sync_api import expect
from sqlalchemy import update

from orchestrator.model.states import JobState
from orchestrator.storage.tables import Attempt, Batch, Job

pytestmark = needs_chromium


@pytest.fixture
def batch(database) -> int:
    """Two jobs that have ended, and one that waits."""
    with database.write() as session:
        number = a_batch(session)
        session.get_one(Batch, number).size = 3
        for slot in ("lab1.g0", "lab1.g1"):
            a_slot_row(session, slot)
            a_run(session, {"首都": "北京" if slot == "lab1.g0" else "南京"}, slot=slot, batch_id=number)
        session.execute(update(Attempt).values(ended_at=A_MOMENT + timedelta(minutes=20)))
        spec = {"kind": "infer", "model": "qwen", "kcore": {"digest": KCORE}, "prompts": {"digest": PROMPTS}}
        a_job_row(session, batch_id=number, request={"placement": {"slot": "lab1.g0"}, "spec": spec})
        return number


def test_a_batch_changes_by_itself_and_all_its_jobs_are_cancelled(page, batch, database):
    page.goto(f"/batches/{batch}")
    expect(page.locator("#live")).to_contain_text("live")
    note = page.get_by_label("Reason")
    note.fill("wrong kcore")
    page.on("dialog", lambda asked: asked.accept())

    page.get_by_role("button", name="Cancel", exact=True).click()

    expect(page.locator("#notice")).to_contain_text("Done for 1 job.")
    expect(page.locator(".cell-cancelled")).to_have_count(1)
    expect(note).to_have_count(0)  # nothing is left to order
    with database.read() as session:
        assert session.query(Job).filter(Job.state == JobState.CANCELLED).one().cancel["by"] == "test"


def test_results_are_compared_by_keyboard_and_back_leads_back(page, batch):
    page.goto(f"/compare?of=batch:{batch}")
    page.get_by_label("After").focus()
    page.keyboard.type("job:2")
    page.get_by_label("Before").fill("job:1")

    page.keyboard.press("Enter")

    expect(page.locator("mark")).to_have_text(["北", "南"])
    expect(page.locator("h1")).to_contain_text("worse")
    page.go_back()
    expect(page.get_by_text("Name two results or more")).to_be_visible()


def test_a_series_is_drawn_with_a_table_beside_it(page, database, store, tmp_path):
    desk = SuiteDesk(a_desk(database, store, tmp_path))
    desk.apply(repeats=1)
    desk.run()

    page.goto("/series")
    page.get_by_role("link", name="output_throughput").click()

    expect(page.locator("#plot canvas")).to_be_visible()
    expect(page.locator(".points tbody tr")).to_have_count(1)


def test_zooming_keeps_the_window_in_the_address_and_a_bar_leads_to_its_job(page, batch):
    page.goto("/timeline?from=2026-03-01T11:00:00Z&to=2026-03-01T13:00:00Z")

    page.get_by_role("link", name="Closer").click()
    expect(page).to_have_url(re.compile("from=2026-03-01T11%3A30"))
    page.locator(".bar-succeeded").first.click()

    expect(page).to_have_url(re.compile("/jobs/1$"))
