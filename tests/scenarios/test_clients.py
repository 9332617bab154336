"""A server and its clients, submitted as one thing."""

from pathlib import Path
from typing import Any

import pytest
from lab import MODEL, Lab

from api.documents.jobs import JobDetail
from orchestrator.model.failures import FailureKind
from orchestrator.model.specs import PipelineRequest
from orchestrator.model.states import JobState

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(400)]


SCRIPTS = ("chat", "completion_llama", "chat_processes", "completion_llama_processes")


def served(lab: Lab, kcore: int, **clients: dict[str, Any]) -> PipelineRequest:
    """A server on two card groups, and what asks it."""
    endpoint = {"job": "serve", "artifact": "endpoint"}
    image = {"job": kcore, "artifact": "kcore"}
    jobs = {"serve": {"spec": {"kind": "serve", "model": MODEL, "kcore": image, "groups": 2}}}
    for name, spec in clients.items():
        asked = {"kind": "client", "endpoint": endpoint, "prompts": {"path": lab.tree["prompts"]}, "max_tokens": 512}
        jobs[name] = {"spec": {**asked, **spec}}
    return PipelineRequest.model_validate({"name": "served", "jobs": jobs})


def numbers(job: JobDetail) -> dict[str, float]:
    return {metric.name: metric.value for metric in job.metrics}


def test_a_server_is_measured_by_a_load_and_ends_when_that_has(lab: Lab, kcore: int):
    shape = {"concurrency": 4, "warmup": 2, "goodput": {"ttft_seconds": 60}}
    jobs = lab.run(served(lab, kcore, load={"golden": {"path": lab.tree["golden"]}, "load": shape}))

    assert {name: job.state for name, job in jobs.items()} == dict.fromkeys(jobs, JobState.SUCCEEDED)
    found = numbers(jobs["load"])
    assert (found["requests"], found["failed_requests"], found["exact_answers"]) == (85, 0, 85)
    assert found["concurrency_max"] == 4
    assert found["goodput"] == found["request_throughput"] > 0
    assert 0 < found["ttft_seconds_p50"] <= found["ttft_seconds_p90"] <= found["request_seconds_max"]
    assert "ttft_seconds_p99" not in found
    assert jobs["serve"].ended_at > jobs["load"].ended_at
    assert lab.events("violation") == []


def test_the_vendors_clients_ask_a_server_as_the_guide_says(lab: Lab, kcore: int):
    asked = Path(lab.tree["home"]) / "asked.txt"
    asked.write_text("Who are you?\n你是谁？\n")
    clients = {
        program: {"program": program, "prompts": {"path": str(asked)}, "max_tokens": 20}
        | ({"processes": 3} if program.endswith("_processes") else {})
        for program in SCRIPTS
    }

    jobs = lab.run(served(lab, kcore, **clients))

    assert {name: job.state for name, job in jobs.items()} == dict.fromkeys(jobs, JobState.SUCCEEDED)
    given = {program: list(lab.client.all_answers(jobs[program].id)) for program in SCRIPTS}
    assert [sorted({answer.batch for answer in given[program]}) for program in SCRIPTS] == [
        [0],
        [0],
        [0, 1, 2],
        [0, 1, 2],
    ]
    assert [len(given[program]) for program in SCRIPTS] == [2, 2, 6, 6]
    assert given["chat"][0].text != given["completion_llama"][0].text
    assert {output.name for output in jobs["chat"].outputs} == {"answers", "log", "vendor_log"}


def test_a_load_whose_server_is_cancelled_fails_by_that_and_by_nothing_of_its_own(lab: Lab, kcore: int):
    with lab.fault("0", "slow 100"), lab.fault("4", "slow 100"):
        submitted = lab.client.submit_pipeline(served(lab, kcore, load={"load": {"concurrency": 2, "requests": 1000}}))
        jobs = {job.name: job.id for job in submitted.jobs}
        lab.running(jobs["load"])
        lab.client.cancel(jobs["serve"])
        ended = lab.client.wait(list(jobs.values()), timeout=120)

    assert ended[jobs["serve"]].state is JobState.CANCELLED
    failure = ended[jobs["load"]].failure
    assert failure is not None
    assert failure.kind is FailureKind.SERVER_GONE
    assert f"the server of job {jobs['serve']}" in failure.reason
