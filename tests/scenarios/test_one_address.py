"""Servers of the real tools behind the API's one address: shared, used, killed, stopped."""

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest
from eventually import eventually
from lab import MODEL, Lab

from orchestrator.model.specs import JobRequest
from orchestrator.model.states import JobState

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(600)]


@pytest.fixture
def openai(lab: Lab) -> Iterator[httpx2.Client]:
    """What a client of OpenAI's interface has: the API's address and a token."""
    ours = lab.client._connection._http
    token = {"Authorization": ours.headers["Authorization"]}
    with httpx2.Client(base_url=ours.base_url.join("/v1"), headers=token, timeout=60) as client:
        yield client


def served(lab: Lab, kcore: int) -> int:
    """The number of a job whose server is ready."""
    spec = {"kind": "serve", "model": MODEL, "kcore": {"job": kcore, "artifact": "kcore"}}
    job = lab.client.submit(JobRequest.model_validate({"spec": spec})).id
    eventually(lambda: lab.client.job(job).endpoint, within=120)
    return job


def test_servers_answer_at_one_address_also_when_one_of_them_dies(lab: Lab, openai: httpx2.Client):
    kcore = lab.run(lab.pipeline())["compile"].id
    first, second = served(lab, kcore), served(lab, kcore)
    golden = map(json.loads, Path(lab.tree["golden"]).read_text().splitlines()[:6])
    expected = {pair["question"]: pair["answer"] for pair in golden}

    def ask(question: str) -> httpx2.Response:
        messages = [{"role": "user", "content": question}]
        return openai.post("/chat/completions", json={"model": MODEL, "messages": messages})

    with ThreadPoolExecutor(6) as pool:
        shared = list(pool.map(ask, expected))
    used = eventually(
        lambda: [each.last_used_at for each in lab.client.endpoints.all() if each.last_used_at], within=30
    )
    os.kill(lab.client.job(first).attempts[-1].pid, signal.SIGKILL)
    after = [ask(question) for question in expected]
    lab.client.stop(second, "the test is over")
    lab.ended(first)
    done = lab.ended(second)
    gone = ask("Who are you?")

    for answers in (shared, after):
        assert [each.json()["choices"][0]["message"]["content"] for each in answers] == list(expected.values())
    assert {each.headers["X-TX81-Job"] for each in shared} == {str(first), str(second)}
    assert {each.headers["X-TX81-Job"] for each in after} == {str(second)}
    assert {each.json()["model"] for each in shared + after} == {MODEL}
    assert used
    assert done.state is JobState.SUCCEEDED
    assert (gone.status_code, gone.json()["error"]["code"]) == (404, "model_not_found")
