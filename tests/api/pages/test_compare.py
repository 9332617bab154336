"""The page of comparisons."""

import re

import pytest
from builders.results import a_batch, a_run
from builders.rows import a_model, a_slot_row

from api.documents.comparisons import ComparedMetric
from api.pages.comparisons import WIDTH, interval
from orchestrator.model.verdicts import Verdict
from orchestrator.storage.tables import Job

HOSTILE = "<img src=x onerror=alert(1)>\u202e"


@pytest.fixture
def run(database):
    """Writes a run with results; its number."""
    with database.write() as session:
        a_model(session)
        a_slot_row(session, "lab1.g0")

    def write(*args, **facts) -> int:
        with database.write() as session:
            return a_run(session, *args, **facts)

    return write


def main(page: str) -> str:
    return page.partition("<main")[2]


def test_the_verdict_comes_first_and_only_the_changed_characters_are_marked(signed_in, run):
    before, after = run({HOSTILE: "北京是首都", "2+2": "4"}), run({HOSTILE: "南京是首都", "2+2": "4"})

    page = main(signed_in("viewer").get(f"/compare?of=job:{before}&of={after}").text)

    assert page.index("worse") < page.index("1 of 2 answers changed") < page.index("Changed answers")
    assert re.findall(r"<mark>(.*?)</mark>", page) == ["北", "南"]
    assert "Nothing was set differently." in page
    assert "<img" not in page


def test_what_is_not_comparable_says_what_differs_and_offers_to_allow_it(signed_in, run):
    before, after = run({"2+2": "4"}), run({"2+2": "4"}, spec={"max_tokens": 7})
    browser = signed_in("viewer")

    page = browser.get(f"/compare?of=job:{before}&of=job:{after}").text
    allowed = re.search(r'href="(/compare\?[^"]*across=max_tokens)">Allow max_tokens', page)[1].replace("&amp;", "&")

    assert "These results are not comparable" in page
    assert "Metrics" not in main(page)
    then = browser.get(allowed).text
    assert "not comparable" not in main(then).partition("</header>")[0]
    assert 'value="max_tokens" checked' in then


def test_metrics_are_shown_with_their_interval(signed_in, database, run):
    batches = []
    for rate in (40.0, 36.0):
        jobs = [run({}, {"output_throughput": rate + repeat / 10}) for repeat in range(7)]
        with database.write() as session:
            batch = a_batch(session)
            for job in jobs:
                session.get_one(Job, job).batch_id = batch
            batches.append(f"of=batch:{batch}")

    page = signed_in("viewer").get(f"/compare?{'&'.join(batches)}").text

    assert 'class="interval interval-worse"' in page
    assert 'class="range"' in page
    assert "-9.93 %" in page
    assert not re.search(r"\sstyle=\"", page)


def test_without_two_results_it_says_what_can_be_named(signed_in, run):
    browser = signed_in("viewer")

    assert "Name two results or more" in browser.get("/compare").text
    assert 'value="batch:3"' in browser.get("/compare?of=batch:3&of=").text
    assert browser.get("/compare?of=<b>&of=2").status_code == 422
    assert browser.get("/compare?of=9999999999999999999&of=1").status_code in (404, 422)
    assert browser.get(f"/compare?{'of=1&' * 51}").status_code == 422
    missing = browser.get("/compare?of=98&of=99")
    assert (missing.status_code, "98" in missing.text) == (404, True)


def test_a_picture_keeps_everything_inside_and_zero_in_the_middle():
    facts = {
        "metric": "m", "verdict": Verdict.WORSE, "why": "", "unit": None, "definition": None, "before": (10.0,),
        "after": (5.0,), "difference": -5.0, "low": -6.0, "high": -4.0, "relative": -0.5, "threshold": 0.03,
        "p_value": None, "corrected": None, "needed": None,
    }  # fmt: skip

    drawn = interval(ComparedMetric(**facts))

    assert 0 < drawn.low < drawn.dot < drawn.high < drawn.band[0] < drawn.zero == WIDTH / 2 < drawn.band[1] < WIDTH
    assert interval(ComparedMetric(**{**facts, "difference": None})) is None
    assert interval(ComparedMetric(**{**facts, "before": (0.0,)})) is None
