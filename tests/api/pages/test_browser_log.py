"""A log in a real browser: it grows, is searched, is linked to, and is never in the page as a whole."""

import re
from collections.abc import Callable

import pytest
from builders import lifecycle
from builders.browsers import needs_chromium
from playwright.sync_api import Page, expect

from api.client.client import Client
from orchestrator.storage import live_logs

pytestmark = needs_chromium


@pytest.fixture
def write(database) -> Callable[[str], None]:
    """Writes to the log of job 1, which runs."""
    with database.write() as session:
        lifecycle.a_slot(session, "g0")
        attempt = lifecycle.a_running_attempt(session).id
    written = 0

    def add(text: str) -> None:
        nonlocal written
        raw = text.encode()
        with database.write() as session:
            for start in range(0, len(raw), 50_000):
                piece = raw[start : start + 50_000]
                live_logs.append(session, attempt, written, piece)
                written += len(piece)

    return add


@pytest.fixture
def log(open_page, client: Client, write) -> Callable[..., Page]:
    def open_log(path: str = "/jobs/1/log", text: str = "") -> Page:
        write(text or "".join(f"step {number}\n" for number in range(1, 20_001)))
        page = open_page(viewport={"width": 1200, "height": 700})
        page.goto(client.sign_ins.make().path)
        page.locator("#board").wait_for()
        page.goto(path)
        return page

    return open_log


def test_a_log_is_followed_until_someone_scrolls_up_and_again_from_its_end(log, write):
    page = log()
    view = page.locator("tx-log")
    follow = page.get_by_role("button", name="Follow")
    expect(view.locator("#L20000")).to_be_in_viewport()
    expect(follow).to_have_attribute("aria-pressed", "true")

    write("half a line")
    expect(view.locator("#L20001")).to_contain_text("half a line")
    write(" and its end\nnext\n")
    expect(view.locator("#L20001")).to_contain_text("half a line and its end")
    expect(view.locator("#L20002")).to_be_in_viewport()

    view.hover()
    page.mouse.wheel(0, -400)
    expect(follow).to_have_attribute("aria-pressed", "false")
    write("unseen\n")
    expect(view.locator("#L20003")).to_have_count(1)
    expect(view.locator("#L20003")).not_to_be_in_viewport()
    follow.click()
    expect(view.locator("#L20003")).to_be_in_viewport()
    expect(follow).to_have_attribute("aria-pressed", "true")


def test_lines_come_as_they_are_scrolled_to(log):
    page = log()
    view = page.locator("tx-log")
    expect(view.locator("#L20000")).to_be_in_viewport()
    assert view.locator(".line").count() < 1000

    page.get_by_role("button", name="Start").click()
    expect(view.locator("#L1")).to_be_in_viewport()
    view.evaluate("log => { log.scrollTop = log.scrollHeight }")
    expect(view.locator("#L201")).to_have_count(1)
    expect(page.locator("#log-place")).to_contain_text("1–")
    assert view.locator(".line").count() < 2000


def test_a_whole_log_is_searched_and_a_line_is_linked_to(log):
    text = "".join(f"{'ERROR <b>' if number % 4000 == 7 else 'step'} {number}\n" for number in range(1, 20_001))
    page = log("/jobs/1/log#L9000", text)
    view, output = page.locator("tx-log"), page.locator("#log-matches")
    expect(view.locator("#L9000.chosen")).to_be_in_viewport()

    page.keyboard.press("/")
    page.keyboard.type("error <B>")
    page.keyboard.press("Enter")
    expect(output).to_have_text("4 / 5")
    expect(view.locator("#L12007.chosen")).to_be_in_viewport()
    page.keyboard.press("Shift+Enter")
    expect(view.locator("#L8007.chosen")).to_be_in_viewport()
    expect(page).to_have_url(re.compile(r"q=error.*#L8007$"))

    page.get_by_role("button", name="First error").click()
    expect(view.locator("#L7.chosen")).to_be_in_viewport()
    view.locator("#L9 > a").click(modifiers=["Shift"])
    expect(page).to_have_url(re.compile("#L7-L9$"))
    expect(view.locator(".chosen")).to_have_count(3)
    page.reload()
    expect(view.locator("#L9.chosen")).to_be_in_viewport()
