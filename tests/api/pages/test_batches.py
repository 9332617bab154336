"""The pages of batches and pipelines: what they show, to whom, and what may be ordered."""

import re

import pytest
from builders.results import a_batch, a_run
from builders.rows import a_job_row, a_slot_row, an_attempt
from sqlalchemy import update

from orchestrator.model.failures import FailureKind
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.tables import Attempt, Batch, Job, JobNeed, Pipeline

HOSTILE = "<script>alert(1)</script>\u202e'\">"
LIMIT = 150 * 1024
FAULT = {"kind": FailureKind.FAULT, "reason": HOSTILE}
SPEC = {
    "kind": "infer", "model": "qwen", "kcore": {"digest": f"sha256:{'c' * 64}"},
    "prompts": {"digest": f"sha256:{'d' * 64}"},
}  # fmt: skip


@pytest.fixture
def batch(database) -> int:
    """Four card groups in three rounds: g1 fails once, g2 answers otherwise once, g3 is tried again once; two wait."""
    with database.write() as session:
        number = a_batch(session)
        session.get_one(Batch, number).name = HOSTILE
        session.get_one(Batch, number).size = 14
        for slot in (f"lab1.g{group}" for group in range(4)):
            a_slot_row(session, slot)
        for round_ in range(3):
            for group in range(4):
                _ran(session, number, f"lab1.g{group}", round_)
        for group in range(2):
            a_job_row(session, batch_id=number, request={"placement": {"slot": f"lab1.g{group}"}, "spec": SPEC})
        return number


def _ran(session, batch, slot, round_):
    failure = {"kind": FailureKind.TOOL, "reason": HOSTILE} if (slot, round_) == ("lab1.g1", 1) else None
    facts = {"state": JobState.FAILED, "failure": failure} if failure else {}
    odd = (slot, round_) == ("lab1.g2", 2)
    job = a_run(session, {} if failure else {"2+2": "5" if odd else "4"}, slot=slot, batch_id=batch, **facts)
    digest = None if failure else "sha256:odd" if odd else "sha256:usual"
    retried = (slot, round_) == ("lab1.g3", 0)
    told = {"answers_digest": digest, "number": 2 if retried else 1}
    session.execute(update(Attempt).where(Attempt.job_id == job).values(**told))
    if retried:
        spoiled = {"slot_id": slot, "state": AttemptState.FAILED, "failure": FAULT}
        an_attempt(session, session.get_one(Job, job), **spoiled)


@pytest.fixture
def pipeline(database) -> int:
    with database.write() as session:
        row = Pipeline(name=HOSTILE, project="default", created_at=database.now(session))
        session.add(row)
        session.flush()
        first = a_job_row(session, pipeline_id=row.id)
        for name in ("infer-a", "infer-b"):
            job = a_job_row(session, pipeline_id=row.id, name=name, request={"spec": SPEC}, state=JobState.WAITING)
            session.add(JobNeed(job_id=job.id, needs_id=first.id))
        return row.id


def main(page: str) -> str:
    return page.partition("<main")[2]


def test_the_matrix_names_the_odd_group_and_tells_retries_from_failures(signed_in, batch):
    page = main(signed_in("viewer").get(f"/batches/{batch}").text)

    lines = re.findall(r'<tr id="line-([^"]+)">(.*?)</tr>', page, re.DOTALL)
    assert [slot for slot, _ in lines] == ["lab1.g1", "lab1.g2", "lab1.g3", "lab1.g0"]  # the worst first
    cells = {slot: re.findall(r'<td class="cell ([^"]*)"><a[^>]*>(.*?)</a>', line) for slot, line in lines}
    assert ("cell-failed", "<b>✗</b> error of the tool") in cells["lab1.g1"]
    assert ("cell-succeeded cell-odd", "<b>✓</b> B") in cells["lab1.g2"]
    assert ("cell-succeeded", "<b>✓</b> A ↻1") in cells["lab1.g3"]
    assert "differs from the majority on 1 of 1 prompts" in page
    assert "<b>lab1.g2</b>" in page.partition("Not like the others")[2].partition("</section>")[0]
    assert re.search(r'of=job:\d+&amp;of=job:\d+">Compare with A', page)


def test_lists_and_pages_show_hostile_text_as_text_and_stay_small(signed_in, batch, pipeline):
    browser = signed_in("admin")
    for path in ("/batches", f"/batches/{batch}", "/pipelines", f"/pipelines/{pipeline}"):
        answer = browser.get(path)

        assert answer.status_code == 200
        assert "&lt;script&gt;" in main(answer.text)
        assert "<script" not in main(answer.text)
        assert not re.search(r"\son\w+=\"|\sstyle=\"|<style", answer.text)
        assert len(answer.content) < LIMIT


def test_a_live_page_is_asked_for_with_its_window(signed_in, batch):
    page = signed_in("viewer").get(f"/batches/{batch}?first=2", headers={"HX-Request": "true"}).text

    assert "<html" not in page
    assert f'hx-get="/batches/{batch}?first=2"' in page
    assert "rounds 2 to 4 of 4" in page


def test_all_jobs_of_a_batch_or_a_pipeline_are_ordered_by_who_may(signed_in, batch, pipeline):
    viewer, submitter = signed_in("viewer"), signed_in("submitter")

    for path in (f"/batches/{batch}", f"/pipelines/{pipeline}"):
        assert "/orders" not in main(viewer.get(path).text)
        assert f"{path}/orders" in submitter.get(path).text
        assert viewer.post(f"{path}/orders", data={"action": "hold"}).status_code == 403
        wrong = submitter.post(f"{path}/orders", data={"action": "explode"}, headers={"HX-Request": "true"})
        assert (wrong.status_code, "action" in wrong.text) == (422, True)
        priority = submitter.post(f"{path}/orders", data={"action": "priority", "priority": "10"})
        assert priority.status_code == 422
    assert "Done for 2 jobs." in submitter.post(f"/batches/{batch}/orders", data={"action": "cancel"}).text
    assert "Done for 3 jobs." in submitter.post(f"/pipelines/{pipeline}/orders", data={"action": "hold"}).text


def test_what_is_not_there_or_fits_no_filter_is_said(signed_in, batch):
    browser = signed_in("viewer")

    assert browser.get("/batches/99").status_code == 404
    assert browser.get("/pipelines/99").status_code == 404
    assert "There are no pipelines yet" in browser.get("/pipelines").text
    assert "No batch fits these filters" in browser.get("/batches?project=other").text
    assert browser.get("/batches?stat=x").status_code == 422
    assert browser.get(f"/batches/{batch}?first=0").status_code == 422


def test_a_pipeline_is_a_graph_with_its_fan_out_folded(signed_in, pipeline):
    page = signed_in("viewer").get(f"/pipelines/{pipeline}").text

    boxes = re.findall(r'<g class="step step-(\w+)".*?</g>', page, re.DOTALL)
    assert boxes == ["queued", "waiting"]
    assert "infer × 2" in page
    assert f'href="/jobs?pipeline={pipeline}&amp;kind=infer"' in page
    assert page.count('<path d="M') == 1
