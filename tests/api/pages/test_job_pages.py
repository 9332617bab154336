"""The list of jobs and the page of one job: filters, lists that are kept, orders for all that fit, what a job shows."""

import pytest
from builders import lifecycle
from builders.rows import A_DIGEST, an_artifact
from sqlalchemy import func, select

from orchestrator.model.states import JobState
from orchestrator.storage.tables import Answer, Artifact, Attempt, Event, Job, JobInput, Metric

HOSTILE = "<script>alert(1)</script>"


@pytest.fixture
def lab(database):
    """Jobs 1 and 2 are queued, 3 and 4 failed; 5 is of another project."""
    with database.write() as session:
        for state in (JobState.QUEUED, JobState.QUEUED, JobState.FAILED, JobState.FAILED):
            lifecycle.a_job(session, state, project="nlp")
        lifecycle.a_job(session, project="other")


def rows(page: str) -> list[int]:
    return [int(row.partition('"')[0]) for row in page.split('<tr id="job-')[1:]]


# ── the list ──


def test_filters_of_the_address_choose_the_jobs(signed_in, lab):
    browser = signed_in("viewer")
    expected = {
        "project=nlp&state=failed": [4, 3],
        "failure=tool": [4, 3],
        "failure=fault": [],
        "failed=today": [4, 3],
        "since=today": [5, 4, 3, 2, 1],
        "until=2020-01-01": [],
        "until=2999-01-01T00:00": [5, 4, 3, 2, 1],
        "release=none": [],
        "state=queued&state=failed&project=nlp": [4, 3, 2, 1],
    }

    assert {query: rows(browser.get(f"/jobs?{query}").text) for query in expected} == expected
    assert "api/v1/jobs?failed_after=2" in browser.get("/jobs?failed=today").text.replace("&#34;", '"')


def test_a_filter_that_makes_no_sense_is_named(signed_in, lab):
    browser = signed_in("viewer")

    for query in ("since=yesterday", "since=1", "failure=bad", "failed=never", "until=9999-12-31"):
        answer = browser.get(f"/jobs?{query}")
        assert answer.status_code == 422, query
        assert query.partition("=")[0] in answer.text


def test_the_list_opens_with_the_one_that_its_viewer_chose(signed_in, lab):
    eva = signed_in("viewer", name="eva")

    kept = eva.post(
        "/jobs/lists", data={"name": "bad ones", "query": "failed=today&project=nlp", "opens_first": "true"}
    )
    first = eva.get("/jobs", follow_redirects=False)

    assert kept.headers["hx-redirect"] == "/jobs?failed=today&project=nlp"
    assert (first.status_code, first.headers["location"]) == (303, "/jobs?failed=today&project=nlp")
    assert "bad ones" in eva.get("/jobs?all=true").text
    assert len(rows(eva.get("/jobs?all=true").text)) == 5
    assert rows(signed_in("viewer", name="tom").get("/jobs").text) == [5, 4, 3, 2, 1]
    eva.post("/jobs/lists/forget", data={"name": "bad ones"})
    assert eva.get("/jobs", follow_redirects=False).status_code == 200


def test_a_list_that_could_not_be_opened_is_not_kept(signed_in):
    browser = signed_in("viewer")
    wrong = (
        {"name": "", "query": "state=failed"},
        {"name": "a/b", "query": "state=failed"},
        {"name": "x", "query": "state=bad"},
        {"name": "x", "query": "wrong=1"},
        {"name": "x", "query": "q=a\r\nX: y"},
        {"name": "x" * 101, "query": "q=a"},
    )

    for form in wrong:
        assert browser.post("/jobs/lists", data=form, headers={"HX-Request": "true"}).status_code == 422, form
    assert browser.get("/jobs", follow_redirects=False).status_code == 200


def test_before_an_order_for_all_that_fit_the_numbers_are_shown(signed_in, lab):
    browser = signed_in("submitter")

    asked = browser.get("/jobs/matching?project=nlp").text

    assert "4 jobs fit the filters." in asked
    assert "Cancel <b>2</b>" in asked
    assert "Retry <b>2</b>" in asked
    assert "Without a filter there is no order for all of them" in browser.get("/jobs/matching").text
    assert signed_in("viewer").get("/jobs/matching?project=nlp").status_code == 403


def test_an_order_is_given_to_all_that_fit(signed_in, lab, database):
    browser = signed_in("submitter")

    told = browser.post("/jobs/orders", data={"matching": "project=nlp", "action": "hold", "note": "night"}).text
    again = browser.post("/jobs/orders", data={"matching": "project=nlp", "action": "hold"}).text

    assert "Done for 2 jobs." in told
    assert "No job was left to change." in again
    with database.read() as session:
        assert session.scalars(select(Job.id).where(Job.held).order_by(Job.id)).all() == [1, 2]
    retried = browser.post("/jobs/orders", data={"matching": "failed=today", "action": "retry"}).text
    assert "Refused for 2 jobs" in retried  # what they were made of is not stored here
    assert browser.post("/jobs/orders", data={"matching": "", "action": "cancel"}).status_code == 422


def test_a_retry_cancels_nothing_and_names_its_own_limit(signed_in, lab, database):
    browser = signed_in("submitter")

    many = browser.post("/jobs/orders", data={"job": [str(n) for n in range(1, 102)], "action": "retry"})
    browser.post("/jobs/orders", data={"job": ["1", "2"], "action": "retry"})

    assert many.status_code == 422
    assert "more than 100 jobs" in many.text
    with database.read() as session:
        assert session.scalar(select(func.count()).where(Event.kind == "job.cancelled")) == 0


# ── one job ──


@pytest.fixture
def ended(database):
    """Job 1 made what job 2 takes; its 25 answers differ in the third."""
    with database.write() as session:
        job = lifecycle.a_job(session, JobState.SUCCEEDED)
        attempt = session.scalars(select(Attempt).where(Attempt.job_id == job.id)).one()
        attempt.command = {"argv": ["run it", "-x", HOSTILE], "env": {"A": "b c"}, "cwd": "/work/1"}
        for index in range(25):
            golden = "北京是中国首都" if index == 2 else "x" * 3000
            text = f"北京市是我国首都{HOSTILE}" if index == 2 else golden
            said = {"question": f"q{index}", "text": text, "golden": golden, "exact": index != 2}
            session.add(Answer(attempt_id=attempt.id, repeat=0, index=index, batch=0, **said))
        session.add(Metric(attempt_id=attempt.id, name="ttft", value=0.25, unit="s", definition="d", count=1))
        an_artifact(session, name="kcore", digest=A_DIGEST, job_id=job.id, attempt_id=attempt.id)
        user = lifecycle.a_job(session)
        session.add(JobInput(job_id=user.id, name="kcore", digest=A_DIGEST))


def test_what_differs_in_an_answer_is_marked_character_by_character(signed_in, ended):
    page = signed_in("viewer").get("/jobs/1?exact=false").text

    assert page.count('<tr id="answer-') == 1
    assert "北京<ins>市</ins>是<ins>我</ins>国首都<ins>&lt;script&gt;" in page
    assert "北京是<del>中</del>国首都" in page.replace("<del></del>", "")


def test_answers_come_in_pages(signed_in, ended):
    browser = signed_in("viewer")

    first = browser.get("/jobs/1")
    after = first.text.rpartition('#answers" rel="next"')[0].rpartition('href="')[2]
    second = browser.get(after.replace("&amp;", "&")).text

    assert [f'id="answer-0-{index}-0"' in first.text for index in (0, 9, 10)] == [True, True, False]
    assert [f'id="answer-0-{index}-0"' in second for index in (9, 10, 19, 20)] == [False, True, True, False]
    assert len(first.content) < 150 * 1024


def test_a_job_shows_where_its_inputs_come_from_and_who_used_its_outputs(signed_in, ended, database):
    browser = signed_in("viewer")
    with database.read() as session:
        artifact = session.scalars(select(Artifact.id)).one()

    maker, user = browser.get("/jobs/1").text, browser.get("/jobs/2").text

    assert f'href="/api/v1/artifacts/{artifact}/content"' in maker
    assert 'kcore: <a href="/jobs/2"' in " ".join(maker.split())
    assert 'made by <a href="/jobs/1"' in " ".join(user.split())


def test_a_job_shows_its_command_for_a_shell_and_the_same_by_cli_and_curl(signed_in, ended):
    page = signed_in("viewer").get("/jobs/1").text

    assert "cd /work/1\nenv -i \\\n  A=&#39;b c&#39; \\\n  &#39;run it&#39; -x &#39;&lt;script&gt;" in page
    for line in ("tx81 show 1", "tx81 answers 1", "tx81 explain 1", "tx81 logs 1", "/api/v1/jobs/1/lineage&#34;"):
        assert line in page.replace('"', "&#34;")


def test_faults_are_counted_apart_from_failures(signed_in, database):
    with database.write() as session:
        slot = lifecycle.a_slot(session, "g0")
        job = lifecycle.a_job(session)
        lifecycle.finish(session, lifecycle.a_running_attempt(session, job, slot), lifecycle.FAULT)

    page = signed_in("viewer").get("/jobs/1").text

    assert "1 infrastructure fault · 0 failures" in page
    assert "again:" in page


def test_a_job_that_took_a_result_leads_to_the_one_that_ran(signed_in, ended, database):
    with database.write() as session:
        job = lifecycle.a_waiting_job(session, cached_from=1)

    page = signed_in("viewer").get(f"/jobs/{job.id}").text

    assert 'href="/jobs/1/log"' in page


def test_a_job_whose_log_is_lost_is_shown_and_says_so(signed_in, database):
    with database.write() as session:
        job = lifecycle.a_job(session, JobState.SUCCEEDED)
        session.scalars(select(Attempt).where(Attempt.job_id == job.id)).one().log_digest = "sha256:" + "d" * 64

    browser = signed_in("viewer")

    page = browser.get("/jobs/1")

    assert page.status_code == 200
    assert "The log cannot be read" in page.text
    assert browser.get("/jobs/1/log").status_code == 404
