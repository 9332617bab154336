"""What a person names is found, or refused with the reason."""

import pytest
from builders.results import a_batch, a_run
from builders.rows import A_MOMENT, a_job_row, a_model, a_slot_row

from orchestrator.comparisons import subjects
from orchestrator.comparisons.subjects import MOST_SUBJECTS, ResultSubject, resolve
from orchestrator.errors import BadRequest, NotFound
from orchestrator.storage.tables import Pipeline


@pytest.fixture
def session(database):
    with database.write() as session:
        a_model(session)
        a_slot_row(session, "lab1.g0")
        yield session


def a_pipeline(session) -> int:
    pipeline = Pipeline(name="p", project="default", created_at=A_MOMENT)
    session.add(pipeline)
    session.flush()
    return pipeline.id


def test_jobs_are_named_by_number_with_or_without_their_kind(session):
    first, second = a_run(session), a_run(session)

    found = resolve(session, [str(first), f"job:{second}"])

    assert found == [ResultSubject(f"job:{first}", (first,)), ResultSubject(f"job:{second}", (second,))]


def test_a_batch_and_a_pipeline_stand_for_their_jobs_that_answer_prompts(session):
    batch, pipeline = a_batch(session), a_pipeline(session)
    jobs = [a_run(session, batch_id=batch), a_run(session, batch_id=batch)]
    a_job_row(session, pipeline_id=pipeline)  # a build
    alone = a_run(session, pipeline_id=pipeline)

    found = resolve(session, [f"batch:{batch}", f"pipeline:{pipeline}"])

    assert [each.job_ids for each in found] == [tuple(jobs), (alone,)]


@pytest.mark.parametrize("word", ["", "x", "job:", "job:0", "job:-1", "job: 1", "build:1", "1e3", "9" * 19, "١", "1\n"])
def test_what_is_no_subject_is_refused(session, word):
    with pytest.raises(BadRequest) as refused:
        resolve(session, [str(a_run(session)), word])

    assert refused.value.field == "subject"


@pytest.mark.parametrize("word", ["job:999999", "999999", "batch:999999", "pipeline:999999"])
def test_an_unknown_number_is_not_found(session, word):
    with pytest.raises(NotFound, match=r"there is no (job|batch|pipeline) 999999"):
        resolve(session, [word, word])


def test_a_job_that_answers_nothing_is_refused_with_its_kind(session):
    build = a_job_row(session).id

    with pytest.raises(BadRequest, match=f"job {build} is of kind quantize"):
        resolve(session, [f"job:{build}", f"job:{build}"])
    with pytest.raises(BadRequest, match="has no such job"):
        resolve(session, [f"batch:{a_batch(session)}", "job:1"])


def test_the_same_job_is_never_compared_with_itself(session):
    batch = a_batch(session)
    job = a_run(session, batch_id=batch)

    with pytest.raises(BadRequest, match=f"job {job} is named twice"):
        resolve(session, [str(job), f"job:{job}"])
    with pytest.raises(BadRequest, match=f"job {job} is in batch:{batch} and job:{job}"):
        resolve(session, [f"batch:{batch}", f"job:{job}"])


def test_the_numbers_of_subjects_and_runs_are_bounded(session, monkeypatch):
    job, other = a_run(session), a_run(session)

    with pytest.raises(BadRequest, match="at least two"):
        resolve(session, [str(job)])
    with pytest.raises(BadRequest, match="51 subjects are too many"):
        resolve(session, [str(job)] * (MOST_SUBJECTS + 1))
    monkeypatch.setattr(subjects, "MOST_RUNS", 1)
    with pytest.raises(BadRequest, match="2 jobs are too many"):
        resolve(session, [str(job), str(other)])
