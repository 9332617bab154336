"""A server and its clients, submitted as one thing."""

from typing import Any

import pytest
from lab import MODEL, Lab

from api.schemas import JobDetail
from cli.jobs import all_answers
from orchestrator.model.specs import PipelineRequest
from orchestrator.model.states import JobState

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(400)]


def served(lab: Lab, **clients: dict[str, Any]) -> PipelineRequest:
    """From weights to a server on two card groups, and what asks it."""
    builds = lab.pipeline().model_dump(mode="json", exclude_unset=True)["jobs"]
    files = {"prompts": {"path": lab.tree["prompts"]}, "golden": {"path": lab.tree["golden"]}}
    kcore = {"job": "compile", "artifact": "kcore"}
    jobs = {
        "convert": builds["convert"],
        "compile": builds["compile"],
        "serve": {"spec": {"kind": "serve", "model": MODEL, "kcore": kcore, "groups": 2}},
    }
    for name, spec in clients.items():
        asked = {"kind": "client", "endpoint": {"job": "serve", "artifact": "endpoint"}, "max_tokens": 512}
        jobs[name] = {"spec": {**asked, **files, **spec}}
    return PipelineRequest.model_validate({"name": "served", "jobs": jobs})


def numbers(job: JobDetail) -> dict[str, float]:
    return {metric.name: metric.value for metric in job.metrics}


def test_a_server_is_asked_by_a_load_and_by_the_vendors_clients_and_ends_when_they_have(lab: Lab):
    jobs = lab.run(
        served(
            lab,
            load={"load": {"concurrency": 4, "warmup": 2, "goodput": {"ttft_seconds": 60}}},
            script={"program": "chat_processes", "processes": 2},
        )
    )

    assert {name: job.state for name, job in jobs.items()} == dict.fromkeys(jobs, JobState.SUCCEEDED)
    loaded, scripted = numbers(jobs["load"]), numbers(jobs["script"])
    assert (loaded["requests"], loaded["failed_requests"], loaded["exact_answers"]) == (85, 0, 85)
    assert loaded["concurrency_max"] == 4
    assert loaded["goodput"] == loaded["request_throughput"] > 0
    assert 0 < loaded["ttft_seconds_p50"] <= loaded["ttft_seconds_p90"] <= loaded["request_seconds_max"]
    assert "ttft_seconds_p99" not in loaded
    assert scripted["exact_answers"] == 2 * 85
    assert {answer.batch for answer in all_answers(lab.client, jobs["script"].id)} == {0, 1}
    assert jobs["serve"].ended_at > max(jobs["load"].ended_at, jobs["script"].ended_at)
    assert lab.events("violation") == []
