"""Models, releases and artifacts: lists, what may be retired, and by whom."""

import pytest
from builders.rows import A_DIGEST, a_model, a_release, an_artifact

PAGES = ("/models", "/models/qwen", "/releases", "/releases/r1", "/artifacts")
HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def lab(database):
    with database.write() as session:
        a_release(session)
        a_release(session, "r2", is_default=False)
        a_model(session, "qwen", family=HOSTILE, path=f"/models/{HOSTILE}")
        an_artifact(session, name="kcore", file_name=HOSTILE, digest=A_DIGEST)


def main(page: str) -> str:
    return page.partition("<main")[2]


@pytest.mark.parametrize("path", PAGES)
def test_every_list_shows_hostile_text_as_text_and_is_small(signed_in, lab, path):
    answer = signed_in("admin").get(path)

    assert answer.status_code == 200
    assert "<script" not in main(answer.text)
    assert len(answer.content) < 150 * 1024


def test_a_viewer_sends_and_retires_nothing(signed_in, lab):
    browser = signed_in("viewer")

    for path in PAGES:
        page = main(browser.get(path).text)
        assert "/retire" not in page
        assert "tx81-upload" not in page
    assert browser.post("/retire", data={"kind": "model", "name": "qwen"}).status_code == 403
    assert "tx81-upload" in signed_in("submitter").get("/models").text


def test_what_is_retired_leaves_the_list_and_comes_back(signed_in, lab):
    browser = signed_in("operator")
    model = {"kind": "model", "name": "qwen"}

    assert browser.post("/retire", data={**model, "note": "old"}).headers["hx-refresh"] == "true"
    assert "There are no models yet" in browser.get("/models").text
    assert "/unretire" in browser.get("/models?retired=true").text
    assert "retired" in main(browser.get("/models/qwen").text)
    assert browser.post("/unretire", data=model).status_code == 204
    assert 'href="/models/qwen"' in browser.get("/models").text


@pytest.mark.parametrize(
    ("form", "status"),
    [
        ({"kind": "model", "name": "unknown"}, 404),
        ({"kind": "release", "name": "r1"}, 409),
        ({"kind": "world", "name": "x"}, 422),
        ({}, 422),
    ],
)
def test_what_cannot_be_retired_is_refused_in_words(signed_in, lab, form, status):
    answer = signed_in("operator").post("/retire", data=form, headers={"HX-Request": "true"})

    assert answer.status_code == status
    assert "alert-danger" in answer.text


def test_artifacts_are_filtered_by_the_address(signed_in, lab, database):
    with database.write() as session:
        for number in range(101):
            an_artifact(session, name="gm", file_name=f"file-{number}")
    browser = signed_in("viewer")

    first = browser.get("/artifacts?name=gm")

    assert first.text.count('<tr id="artifact-') == 100
    assert "cursor=" in first.text
    assert len(first.content) < 150 * 1024
    assert browser.get("/artifacts?name=kcore").text.count('<tr id="artifact-') == 1
    assert browser.get(f"/artifacts?digest={A_DIGEST}&name=kcore").text.count('<tr id="artifact-') == 1
    assert "No artifact fits these filters" in browser.get("/artifacts?name=golden").text


def test_a_release_that_was_never_checked_says_how_to(signed_in, lab):
    assert "tx81 releases check r1" in signed_in("viewer").get("/releases").text


def test_an_empty_catalogue_says_what_to_do(signed_in):
    browser = signed_in("viewer")

    assert "tx81 models add" in browser.get("/models").text
    assert "tx81 releases add" in browser.get("/releases").text
    assert "There are no artifacts yet" in browser.get("/artifacts").text
