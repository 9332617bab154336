"""Bodies that are large or made to be slow: read in a thread, never on the event loop that serves everybody."""

import json
import threading
import time

import httpx2
import pytest

from api.access import MOST_VALUES, SMALL_BODY
from orchestrator.settings import Settings
from orchestrator.strict_json import MOST_KEYS

JSON = {"Content-Type": "application/json"}
MOST_SECONDS = 0.2
"""Of processor time that the event loop may spend on one request."""

HOSTILE = {
    "numbers": b"[" + b"1," * 3_900_000 + b"1]",
    "unknown keys": b"{" + b",".join(b'"%d":1' % number for number in range(500_000)) + b"}",
    "keys within the limit of values": b"{" + b",".join(b'"%d":1' % number for number in range(150_000)) + b"}",
    "wrong jobs": b"[" + b"{}," * 90_000 + b"{}]",
    "strings": b"[" + b'"",' * 2_500_000 + b'""]',
    "escapes": b'["' + b'\\"' * 3_900_000 + b'"]',
    "commas in a string": b'["' + b"," * 7_800_000 + b'"]',
    "brackets": b"[" * 7_800_000,
    "a long number": b"[" + b"9" * 7_800_000 + b"]",
    "a cut string": b'["' + b"x" * 7_800_000,
    "quotes that do not end": b"[" * 65 + b'"' + b'\\"' * 3_900_000,
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    return settings.model_copy(update={"max_body_bytes": Settings.model_fields["max_body_bytes"].default})


@pytest.fixture
def event_loop_seconds(served):
    """Processor time of the event loop's thread so far."""
    (loop,) = [thread for thread in threading.enumerate() if thread.name == "event-loop"]
    clock = time.pthread_getcpuclockid(loop.ident)
    return lambda: time.clock_gettime(clock)


@pytest.fixture
def raw(served, settings, token):
    base, headers = f"http://127.0.0.1:{settings.api_port}", {"Authorization": f"Bearer {token}"}
    with httpx2.Client(base_url=base, headers=headers, timeout=120) as client:
        yield client


@pytest.mark.parametrize("path", ["/api/v1/jobs", "/api/v1/jobs/bulk", "/v1/chat/completions"])
@pytest.mark.parametrize("body", HOSTILE)
def test_a_hostile_body_is_refused_and_costs_the_event_loop_next_to_nothing(raw, event_loop_seconds, path, body):
    raw.post(path, json={})  # what is made at the first request of a route is made
    before = event_loop_seconds()

    answer = raw.post(path, content=HOSTILE[body], headers=JSON)

    assert 400 <= answer.status_code < 500, answer.text[:300]
    assert event_loop_seconds() - before < MOST_SECONDS
    assert raw.get("/health/live").json() == {"live": True}


def test_too_many_values_are_refused_before_anything_is_built_of_them(http):
    answer = http.post("/jobs", content=b"[" + b"1," * MOST_VALUES + b"1]", headers=JSON)

    assert answer.status_code == 422
    assert f"more than {MOST_VALUES} values" in answer.json()["detail"]


def test_an_object_of_too_many_keys_is_refused(http):
    document = {f"k{number}": 1 for number in range(MOST_KEYS + 1)}

    answer = http.post("/jobs", content=json.dumps(document), headers=JSON)

    assert f"more than {MOST_KEYS} keys" in answer.json()["detail"]


def test_a_wrong_field_of_a_large_body_is_named_like_that_of_a_small_one(http):
    wrong = {"spec": {"kind": "convert", "model": "m", "backend_type": "b"}, "priority": 12, "name": "x"}
    small = http.post("/jobs", json=wrong)

    large = http.post("/jobs", content=json.dumps(wrong) + " " * SMALL_BODY, headers=JSON)

    assert large.status_code == small.status_code == 422
    assert large.json()["errors"] == small.json()["errors"]
    assert [error["field"] for error in large.json()["errors"]] == ["priority"]


def test_a_large_body_that_is_right_does_what_a_small_one_does(http):
    small = http.put("/projects/small", json={"weight": 2})
    large = http.put("/projects/large", content=json.dumps({"weight": 2}) + " " * SMALL_BODY, headers=JSON)

    assert small.status_code == large.status_code == 200, large.text
    assert large.json() == {**small.json(), "name": "large"}
