"""What needs a real browser of the pages for submitting, sending files, plots and the API's own document.

Every test fails on a request to anywhere else, on a violation of the policy of our pages, and on an error of a script.
"""

import hashlib
import re

import pytest
from builders import lifecycle
from builders.browsers import needs_chromium
from builders.rows import a_model, a_release
from playwright.sync_api import expect

pytestmark = needs_chromium


@pytest.fixture
def lab(database) -> None:
    with database.write() as session:
        a_release(session)
        a_model(session, "qwen")
        lifecycle.a_slot(session, "g0")


def test_form_and_yaml_follow_each_other_until_the_job_is_submitted(lab, page):
    page.goto("/submit?kind=golden")
    model, yaml = page.locator('[name="spec.model"]'), page.locator("#yaml")

    page.locator('[name="spec.prompts"]').fill("你是谁？\nwho?")
    model.fill("unknown")
    expect(page.locator('[data-field="spec.model"] [data-wrong]')).to_contain_text("not registered")
    expect(model).to_have_attribute("aria-invalid", "true")
    model.fill("qwen")
    expect(yaml).to_have_value(re.compile("lines:\n +- 你是谁？\n +- who?"))
    expect(page.locator("#checked")).to_contain_text("It can be submitted")
    yaml.fill(yaml.input_value() + "name: 'from-yaml'\n")
    yaml.blur()
    expect(page.locator('[name="name"]')).to_have_value("from-yaml")
    page.get_by_role("button", name="Submit").click()

    expect(page).to_have_url(re.compile(r"/jobs/\d+$"))
    expect(page.locator("h1")).to_contain_text("from-yaml")


def test_a_file_is_sent_under_the_digest_of_its_bytes(lab, page, tmp_path):
    content = "".join(
        f"问题 {number}\n" for number in range(7000)
    ).encode()  # more than a block, and no multiple of one
    (tmp_path / "questions.txt").write_bytes(content)
    page.goto("/artifacts")

    sending = page.locator("tx81-upload").first
    sending.locator('[type="file"]').set_input_files(tmp_path / "questions.txt")
    sending.get_by_role("button", name="Send").click()

    expect(sending.locator(".upload-told")).to_contain_text(hashlib.sha256(content).hexdigest())
    page.reload()
    expect(page.locator("tbody tr").first).to_contain_text("questions.txt")


def test_the_course_of_a_slot_is_drawn_and_an_order_is_given_there(lab, page):
    page.goto("/slots/lab1.g0")
    expect(page.locator("tx81-course canvas")).to_be_visible()

    page.get_by_label("Reason").fill("swap cards")
    page.get_by_role("button", name="Drain").click()

    expect(page.locator("#slot")).to_contain_text("swap cards")
    expect(page.locator("tx81-course canvas")).to_be_visible()


def test_the_routes_of_the_api_are_shown_by_files_of_ours(lab, page):
    page.goto("/docs")

    # It reads a document of 700 KB, on a machine that may be busy with other tests.
    expect(page.locator("#operations-tag-slots")).to_be_visible(timeout=60_000)
