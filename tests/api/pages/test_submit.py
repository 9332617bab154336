"""Submitting by a page: what the API reports is shown beside the field, and nothing is made before it is meant."""

import pytest
from builders.rows import a_model, a_release
from sqlalchemy import func, select

from orchestrator.storage.tables import Job

HOSTILE = "<script>alert(1)</script>"
GOOD = "spec:\n  kind: quantize\n  model: qwen\n"


@pytest.fixture
def lab(database):
    with database.write() as session:
        a_release(session)
        a_model(session, "qwen")


@pytest.fixture
def browser(signed_in, lab):
    return signed_in("submitter", name="eva")


def made(database) -> int:
    with database.read() as session:
        return session.scalar(select(func.count()).select_from(Job))


def test_the_form_has_what_is_needed_and_names_what_there_is(browser):
    page = browser.get("/submit?kind=infer").text

    assert 'name="spec.model"' in page
    assert '<option value="qwen">' in page
    assert page.index('name="spec.prompts"') < page.index("<details") < page.index('name="spec.max_tokens"')
    assert len(page) < 150 * 1024


def test_a_form_is_told_what_is_wrong_beside_its_field(browser, database):
    told = browser.post("/submit/check", json={"kind": "quantize", "fields": {"spec.model": "no", "priority": "x"}})

    assert told.status_code == 200
    answer = told.json()
    assert answer["text"] == "spec:\n  kind: quantize\n  model: 'no'\npriority: x\n"
    assert [(each["field"], each["line"]) for each in answer["problems"]] == [("priority", 4)]
    (unknown,) = browser.post("/submit/check", json={"kind": "quantize", "fields": {"spec.model": "no"}}).json()[
        "problems"
    ]
    assert unknown["field"] == "spec.model"
    assert "not registered" in unknown["detail"]
    assert made(database) == 0


def test_what_can_be_submitted_says_what_it_would_be(browser, database):
    answer = browser.post("/submit/check", json={"text": GOOD}).json()

    assert answer["problems"] == []
    assert "It can be submitted: 1 job" in answer["told"]
    assert "curl -H" in answer["told"]
    assert made(database) == 0


def test_own_questions_are_checked_without_being_stored(browser, store):
    fields = {"spec.model": "qwen", "spec.prompts": "你是谁？\n\nwho?", "spec.prompts:from": "lines"}

    answer = browser.post("/submit/check", json={"kind": "golden", "fields": fields}).json()

    assert answer["problems"] == []
    assert "lines:\n    - 你是谁？\n    - who?" in answer["text"]
    assert not [path for path in store.root.rglob("*") if path.is_file()]


def test_a_submission_leads_to_its_job_and_happens_once(browser, database):
    first = browser.post("/submit", json={"text": GOOD}, headers={"Idempotency-Key": "k"})
    again = browser.post("/submit", json={"text": GOOD}, headers={"Idempotency-Key": "k"})

    assert first.status_code == 200
    assert first.json() == again.json()
    assert first.json()["to"].startswith("/jobs/")
    assert made(database) == 1
    assert browser.get(first.json()["to"]).status_code == 200


def test_a_pipeline_is_submitted_as_one(browser, database):
    spec = "spec: {kind: quantize, model: qwen}"
    two = f"name: p\njobs:\n  a: {{{spec}}}\n  b: {{{spec}, needs: [a]}}\n"

    assert "2 jobs" in browser.post("/submit/check", json={"text": two}).json()["told"]
    assert browser.post("/submit", json={"text": two}).json()["to"].startswith("/pipelines/")
    assert made(database) == 2


def test_a_clone_is_filled_with_the_request_of_its_job(browser):
    job = browser.post("/submit", json={"text": f"{GOOD}name: first\npriority: 7\n"}).json()["to"].rpartition("/")[2]

    page = browser.get(f"/submit?from={job}").text

    assert "priority: 7" in page
    assert 'name="priority" value="7"' in page
    assert "use_cache:" not in page


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "expected a job"),
        ("- 1", "expected a job"),
        ("a: [", "not YAML"),
        ("a: 1\na: 2", "line 2"),
        (f"spec: {{kind: quantize, model: '{HOSTILE}'}}", "spec.model"),
        (f"'{HOSTILE}': 1", "unknown field"),
        ("model: x", "unknown field"),
        ("jobs: 1", "jobs"),
    ],
)
def test_a_document_that_is_none_is_refused_in_words_and_as_text(browser, database, text, told):
    answer = browser.post("/submit/check", json={"text": text}).json()

    assert told in answer["told"]
    assert "<script" not in answer["told"]
    assert browser.post("/submit", json={"text": text}).status_code == 422
    assert made(database) == 0


def test_the_form_follows_the_document(browser):
    form = browser.post("/submit/form", json={"text": f"{GOOD}name: '{HOSTILE}'\n"})

    assert 'value="qwen"' in form.text
    assert "<script" not in form.text
    assert browser.post("/submit/form", json={"text": "spec: {kind: x}"}).status_code == 404
    assert browser.post("/submit/form", json={"text": "spec: 1"}).status_code == 404


@pytest.mark.parametrize("path", ["/submit", "/submit/check", "/submit/form"])
def test_a_viewer_submits_nothing(signed_in, lab, path):
    viewer = signed_in("viewer")

    assert viewer.post(path, json={"text": GOOD}).status_code == 403
    assert viewer.get("/submit").status_code == 403
    assert 'href="/submit' not in viewer.get("/").text


def test_what_does_not_exist_is_no_form(browser):
    assert browser.get("/submit?kind=provision").status_code == 404
    assert browser.get("/submit?from=99").status_code == 404
