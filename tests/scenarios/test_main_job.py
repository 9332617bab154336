"""A model goes from weights to answers."""

from collections.abc import Iterator

import pytest
from lab import Lab, running_lab
from postgres import execute

from orchestrator.model.specs import JobRequest
from orchestrator.model.states import JobState

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(300)]


def exact(job):
    return {metric.name: metric.value for metric in job.metrics}["exact_answers"]


@pytest.mark.parametrize("quantized", [False, True], ids=["bf16", "int8"])
def test_every_answer_is_the_known_one(lab: Lab, quantized: bool):
    jobs = lab.run(lab.pipeline(quantized=quantized))

    assert {name: job.state for name, job in jobs.items()} == dict.fromkeys(jobs, JobState.SUCCEEDED)
    assert exact(jobs["infer"]) == len(lab.client.answers(jobs["infer"].id, limit=500).items) == 85
    assert lab.events("violation") == []


def test_the_same_pipeline_again_builds_nothing_and_says_from_where(lab: Lab):
    first = lab.run(lab.pipeline())
    second = lab.run(lab.pipeline())

    origin = {name: first[name].cached_from or first[name].id for name in ("convert", "compile")}
    assert {name: second[name].cached_from for name in origin} == origin
    assert second["infer"].cached_from is None
    assert exact(second["infer"]) == 85


def test_the_whole_log_is_kept_and_can_be_read_in_ranges(lab: Lab):
    job = lab.run(lab.pipeline())["infer"]

    log = b"".join(lab.client.log(job.id))

    assert b"question 85/85" in log
    assert "北京".encode() in log
    assert len(log) == job.attempts[-1].log_bytes


def test_identical_builds_that_are_submitted_together_run_once(lab: Lab):
    with lab.fault("convert", "slow 300"):
        spec = {"kind": "convert", "model": "DeepSeek-R1-Distill-Qwen-Tiny", "backend_type": "deepseek_qwen2_14b_bf16"}
        twins = lab.client.submit_many([JobRequest.model_validate({"spec": spec})] * 3)
        done = [lab.ended(job.id) for job in twins]

    assert [job.state for job in done] == [JobState.SUCCEEDED] * 3
    assert [job.cached_from for job in done] == [None, done[0].id, done[0].id]


@pytest.fixture(scope="module")
def postgres_lab(tmp_path_factory: pytest.TempPathFactory, postgres_socket: str) -> Iterator[Lab]:
    execute(postgres_socket, "CREATE DATABASE lab")
    address = f"postgresql+psycopg://postgres@/lab?host={postgres_socket}"
    with running_lab(tmp_path_factory.mktemp("lab"), address) as made:
        yield made


@pytest.mark.xdist_group("postgresql")
def test_it_works_on_postgresql(postgres_lab: Lab):
    jobs = postgres_lab.run(postgres_lab.pipeline())

    assert {job.state for job in jobs.values()} == {JobState.SUCCEEDED}
    assert exact(jobs["infer"]) == 85
