"""Rows of older versions that hold what is refused today are shown in JSON that every program can read."""

import json

import pytest
from builders.rows import a_job_row, a_model

from orchestrator.model.states import JobState
from orchestrator.storage.events import record

HALF = {"comment": "half \ud800 of a pair", "\udfff": ["\U0001f600", "\ud83d\ude00"]}
SHOWN = {"comment": "half \ufffd of a pair", "\ufffd": ["\U0001f600", "\U0001f600"]}


def _strictly(content: bytes):
    """As a parser in another language reads it, which takes no half of a pair and no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert "\\ud" not in content.decode("utf-8").lower()
    return json.loads(content.decode("utf-8"), parse_constant=refuse)


@pytest.fixture
def model(database) -> str:
    with database.write() as session:
        model = a_model(session)
        model.official_config = HALF
        return model.name


def test_a_model_is_shown(http, model):
    answer = http.get(f"/models/{model}")

    assert answer.status_code == 200
    assert _strictly(answer.content)["official_config"] == SHOWN


@pytest.fixture
def job(database) -> int:
    with database.write() as session:
        job = a_job_row(session, state=JobState.FAILED)
        job.failure = {"kind": "tool", "reason": "said \udc80"}
        job.spec = {**job.spec, "note": HALF}
        record(session, "job.failed", database.now(session), job_id=job.id, said=HALF)
        return job.id


@pytest.mark.parametrize("path", ["/jobs/{}", "/jobs", "/jobs/{}/explain", "/models"])
def test_everything_about_it_is_shown(http, job, model, path):
    answer = http.get(path.format(job))

    assert answer.status_code == 200
    _strictly(answer.content)


def test_its_events_are_streamed(client, job):
    assert next(client.events(after=0, jobs=[job])).data["said"] == SHOWN


def test_an_order_that_was_carried_out_is_answered(http, database):
    with database.write() as session:
        job = a_job_row(session)
        job.spec = {**job.spec, "note": HALF}

    answer = http.post(f"/jobs/{job.id}/cancel")

    assert answer.status_code == 200
    assert _strictly(answer.content)["state"] == "cancelled"
