"""Servers of the real tools on emulated cards: asked, stopped, killed, replaced."""

import json
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually
from lab import MODEL, Lab

from api.documents.endpoints import EndpointView
from api.documents.jobs import JobDetail
from api.documents.slots import Occupancy
from emulator.cards.events import audit
from orchestrator.model.specs import JobRequest
from orchestrator.model.states import AttemptState, JobState

pytestmark = [pytest.mark.xdist_group("lab"), pytest.mark.timeout(600)]


@pytest.fixture(autouse=True)
def every_card_had_one_owner_at_a_time(lab: Lab) -> Iterator[None]:
    yield
    assert audit(Path(lab.tree["events"])) == []


def serve(lab: Lab, kcore: int, **spec: Any) -> int:
    wanted = {"kind": "serve", "model": MODEL, "kcore": {"job": kcore, "artifact": "kcore"}, **spec}
    return lab.client.submit(JobRequest.model_validate({"spec": wanted})).id


def ready(lab: Lab, job: int, after: int = 0) -> EndpointView:
    """Where it answers, of an attempt later than `after`."""

    def found() -> EndpointView | None:
        endpoint = lab.client.job(job).endpoint
        return endpoint if endpoint is not None and endpoint.attempt_id > after else None

    return eventually(found, within=120)


def ask(endpoint: EndpointView, question: str) -> str:
    body = {"model": endpoint.served_id, "messages": [{"role": "user", "content": question}], "max_tokens": 64}
    request = urllib.request.Request(
        f"{endpoint.url}/v1/chat/completions",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.loads(answer.read())["choices"][0]["message"]["content"]


def questions(lab: Lab, count: int) -> dict[str, str]:
    """Questions with their answers."""
    lines = Path(lab.tree["golden"]).read_text().splitlines()[:count]
    return {pair["question"]: pair.get("answer", pair.get("response")) for pair in map(json.loads, lines)}


def stopped(lab: Lab, job: int) -> JobDetail:
    lab.client.stop(job, "the test is over")
    return lab.ended(job)


def test_a_server_answers_as_the_model_does_until_it_is_stopped_and_leaves_its_cards_free(lab: Lab, kcore: int):
    job = serve(lab, kcore)
    endpoint = ready(lab, job)

    expected = questions(lab, 3)
    given = {question: ask(endpoint, question) for question in expected}
    listed = lab.client.endpoints.all(MODEL)
    done = stopped(lab, job)

    assert given == expected
    assert [each.job_id for each in listed] == [job]
    assert (done.state, done.endpoint) == (JobState.SUCCEEDED, None)
    assert {"log", "vendor_log"} <= {output.name for output in done.outputs}
    assert lab.client.endpoints.all() == ()
    assert lab.slot("g0").occupancy is Occupancy.FREE
    eventually(lambda: not lab.tools_running())
    # And an inference on the same cards finds nobody there.
    assert lab.ended(lab.infer(kcore)).state is JobState.SUCCEEDED


def test_a_server_on_two_groups_answers_two_at_once(lab: Lab, kcore: int):
    job = serve(lab, kcore, groups=2)
    endpoint = ready(lab, job)
    expected = questions(lab, 4)

    with ThreadPoolExecutor(4) as pool:
        given = dict(zip(expected, pool.map(lambda question: ask(endpoint, question), expected), strict=True))
    done = stopped(lab, job)

    assert given == expected
    assert endpoint.groups == 2
    assert done.attempts[0].slot_ids == ("lab1.g0", "lab1.g1")
    assert sum(output.name.startswith("vendor_log") for output in done.outputs) == 2
    assert [lab.slot(name).occupancy for name in ("g0", "g1")] == [Occupancy.FREE] * 2


def test_a_kept_server_that_is_killed_answers_again_at_another_endpoint(lab: Lab, kcore: int):
    job = serve(lab, kcore, keep=True)
    first = ready(lab, job)

    os.kill(lab.client.job(job).attempts[-1].pid, signal.SIGKILL)
    second = ready(lab, job, after=first.attempt_id)
    question, expected = next(iter(questions(lab, 1).items()))
    given = ask(second, question)
    done = stopped(lab, job)

    assert given == expected
    assert [tried.state for tried in done.attempts] == [AttemptState.FAILED, AttemptState.SUCCEEDED]
    assert "killed by SIGKILL" in done.attempts[0].failure.reason
    assert done.state is JobState.SUCCEEDED


def test_a_server_dies_with_its_worker_and_answers_again_elsewhere(lab: Lab, kcore: int):
    job = serve(lab, kcore)
    first = ready(lab, job)
    (slot_id,) = lab.client.job(job).attempts[-1].slot_ids

    lab.kill(slot_id.removeprefix("lab1."))
    second = ready(lab, job, after=first.attempt_id)
    question, expected = next(iter(questions(lab, 1).items()))
    given = ask(second, question)
    done = stopped(lab, job)

    assert given == expected
    assert first.url != second.url
    with pytest.raises(urllib.error.URLError):
        ask(first, question)
    assert done.attempts[0].state is AttemptState.LOST
    assert done.state is JobState.SUCCEEDED


def test_a_server_that_nobody_asks_stops_by_itself(lab: Lab, kcore: int):
    job = serve(lab, kcore, idle_seconds=1)

    done = lab.ended(job)

    assert done.state is JobState.SUCCEEDED
    assert done.stop["why"] == "not used for 1 s (idle_seconds)"
