"""The pages in a real browser: signing in, what changes without loading again, orders, keyboard, language and theme.

Every test fails on a request to anywhere else, on a violation of the policy of our pages, and on an error of a script.
"""

import re
from collections.abc import Callable

import pytest
from builders import lifecycle
from builders.browsers import needs_chromium
from playwright.sync_api import Page, expect
from sqlalchemy import select

from api.client.client import Client
from orchestrator import tokens
from orchestrator.storage.tables import Slot

pytestmark = needs_chromium


@pytest.fixture
def lab(database) -> None:
    with database.write() as session:
        for number in range(8):
            lifecycle.a_slot(session, f"g{number}")
        first = session.scalars(select(Slot).where(Slot.name == "g0")).one()
        lifecycle.a_running_attempt(session, lifecycle.a_job(session), first)


@pytest.fixture
def signed_in(open_page, client: Client) -> Callable[..., Page]:
    """A page after the link that `tx81 open` opens."""

    def sign_in(**options) -> Page:
        page = open_page(**options)
        page.goto(client.sign_ins.make().path)
        expect(page.locator("#board")).to_be_visible()
        return page

    return sign_in


def test_a_token_signs_in_and_the_link_of_a_page_is_followed(open_page, token, lab):
    page = open_page()

    page.goto("/jobs?state=running")
    page.get_by_label("Token").fill(token)
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"/jobs\?state=running$"))
    expect(page.locator("tbody tr")).to_have_count(1)


def test_the_board_changes_without_losing_focus_or_what_is_written(signed_in, lab, database):
    page = signed_in()
    expect(page.locator("#live")).to_contain_text("live")
    tile = page.locator('[id="slot-lab1.g1"]')
    tile.locator("summary").focus()
    page.keyboard.press("Enter")
    note = tile.get_by_label("Reason")
    note.fill("swap cards")

    with database.write() as session:
        job = lifecycle.a_job(session)
        lifecycle.a_running_attempt(session, job, session.get(Slot, "lab1.g2"))

    expect(page.locator('[id="slot-lab1.g2"]')).to_contain_text("running")
    expect(note).to_be_focused()
    expect(note).to_have_value("swap cards")
    tile.get_by_role("button", name="Drain").click()
    expect(page.locator("#notice")).to_contain_text("lab1.g1")
    expect(tile).to_contain_text("drained")
    expect(tile).to_contain_text("swap cards")


def test_two_pages_of_a_browser_share_one_stream(signed_in, lab, client):
    page = signed_in()
    streams: list[str] = []
    page.context.on("request", lambda request: "/events" in request.url and streams.append(request.url))

    other = page.context.new_page()
    other.goto("/jobs")

    expect(other.locator("#live")).to_contain_text("live")
    assert len(streams) <= 1


def test_marked_jobs_are_held_with_one_order(signed_in, lab, database):
    with database.write() as session:
        for _ in range(3):
            lifecycle.a_job(session)
    page = signed_in()
    page.goto("/jobs?state=queued")
    hold = page.get_by_role("button", name="Hold", exact=True)
    expect(hold).to_be_disabled()

    page.get_by_label("Mark all on this page").check()
    expect(page.locator("output")).to_have_text("marked: 3")
    hold.click()

    expect(page.locator("#notice")).to_contain_text("Done for 3 jobs.")
    expect(page.locator("tbody tr").first).to_contain_text("on hold")


def test_all_jobs_that_fit_are_held_after_a_look_at_how_many_and_the_list_is_kept(signed_in, lab, database):
    with database.write() as session:
        for _ in range(3):
            lifecycle.a_job(session, project="nlp")
    page = signed_in()
    page.goto("/jobs?project=nlp")

    page.get_by_role("button", name="Orders for all that fit …").click()
    expect(page.locator("#notice")).to_contain_text("3 jobs fit the filters.")
    page.locator("#notice").get_by_role("button", name="Hold 3").click()
    expect(page.locator("#notice")).to_contain_text("Done for 3 jobs.")
    page.get_by_text("Keep this list").click()
    page.get_by_label("Name", exact=True).fill("ours")
    page.get_by_label("opens first").check()
    page.get_by_role("button", name="Keep", exact=True).click()

    expect(page.get_by_role("link", name="ours")).to_have_attribute("aria-current", "page")
    page.goto("/jobs")
    expect(page).to_have_url(re.compile(r"/jobs\?project=nlp$"))
    expect(page.locator("tbody tr")).to_have_count(3)


def test_language_and_theme_are_kept(signed_in, lab):
    page = signed_in(color_scheme="dark", timezone_id="Asia/Shanghai")
    root = page.locator("html")
    expect(root).to_have_attribute("data-bs-theme", "dark")

    page.get_by_role("button", name="中文").click()
    expect(root).to_have_attribute("lang", "zh-CN")
    page.get_by_role("button", name="浅色").click()
    expect(root).to_have_attribute("data-bs-theme", "light")
    page.goto("/jobs/1")

    expect(root).to_have_attribute("lang", "zh-CN")
    expect(root).to_have_attribute("data-bs-theme", "light")


def test_signing_out_leads_to_the_form(signed_in, lab):
    page = signed_in()

    page.get_by_role("button", name="Sign out").click()

    expect(page.get_by_label("Token")).to_be_visible()
    page.goto("/")
    expect(page.get_by_label("Token")).to_be_visible()


def test_a_viewer_sees_no_orders(open_page, database, lab):
    page = open_page()
    page.goto("/sign-in")
    page.get_by_label("Token").fill(tokens.make(database, "eva", ("viewer",)))
    page.keyboard.press("Enter")

    expect(page.locator(".tile").first).to_be_visible()
    expect(page.locator(".orders")).to_have_count(0)
