"""What a batch is asked for, when it stops, and how its jobs stand together."""

from typing import Any

import pytest
from pydantic import ValidationError

from orchestrator.errors import BadSpec
from orchestrator.model.batches import BatchRequest, BatchState, StopOn, Trouble, batch_state, requests_of, stopping
from orchestrator.model.states import JobState

DIGEST = f"sha256:{'c' * 64}"
JOB = {"spec": {"kind": "infer", "model": "qwen", "kcore": {"digest": DIGEST}, "prompts": {"digest": DIGEST}}}
DEAD = Trouble(1, "a", "HPGR: device error", sticky=True, slot_id="lab1.g1")
FAILED = Trouble(2, "b", "exit code 1", sticky=False)


def batch(**facts: Any) -> BatchRequest:
    return BatchRequest.model_validate({"name": "stress", **facts})


def test_a_template_is_made_round_by_round_so_that_numbers_tell_what_runs_side_by_side():
    request = batch(template=JOB, times=2)

    names = [(place, job.name, job.placement.slot) for place, job in requests_of(request, ["lab1.g0", "lab1.g1"])]

    assert names == [
        ("template", "lab1.g0-1", "lab1.g0"),
        ("template", "lab1.g1-1", "lab1.g1"),
        ("template", "lab1.g0-2", "lab1.g0"),
        ("template", "lab1.g1-2", "lab1.g1"),
    ]


@pytest.mark.parametrize(
    ("request_", "field", "told"),
    [
        ({"template": JOB, "times": 5_000, "slots": ["g0", "g1", "g2"]}, "times", "more than 10000"),
        ({"template": JOB, "slots": ["g0", "g0"]}, "slots", "named twice"),
        ({"template": {**JOB, "placement": {"slot": "g1"}}, "slots": ["g0"]}, "template.placement.slot", "slots"),
        ({"template": JOB, "slots": ["cpu0"]}, "slots", "do not run on cpu0"),
        ({"template": {"spec": {**JOB["spec"], "cards": "4..7"}}, "slots": ["g0"]}, "slots", "are g1"),
        ({"jobs": [JOB, {**JOB, "name": "twin"}, {**JOB, "name": "twin"}]}, "jobs.2.name", "rename one"),
    ],
)
def test_jobs_that_can_not_be_together_are_refused_with_the_field(request_, field, told):
    with pytest.raises(BadSpec) as refused:
        requests_of(batch(**request_), [])

    assert refused.value.field == field
    assert told in refused.value.detail


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"jobs": [JOB], "template": JOB},
        {"jobs": []},
        {"jobs": [JOB] * 10_001},
        {"jobs": [JOB], "times": 2},
        {"jobs": [JOB], "slots": ["g0"]},
        {"template": JOB, "slots": []},
        {"template": JOB, "slots": ["../g0"]},
        {"template": JOB, "times": 0},
        {"template": JOB, "name": "-rf"},
        {"template": JOB, "stop_on": "sometimes"},
    ],
)
def test_a_batch_says_one_thing_and_all_of_it(request_):
    with pytest.raises(ValidationError):
        batch(**request_)


@pytest.mark.parametrize(
    ("stop_on", "troubles", "cause"),
    [
        (StopOn.NEVER, [DEAD, FAILED], None),
        (StopOn.STICKY_FAULT, [FAILED, DEAD], DEAD),
        (StopOn.STICKY_FAULT, [FAILED], None),
        (StopOn.FAILURE, [FAILED, DEAD], FAILED),
        (StopOn.FAILURE, [DEAD], DEAD),
        (StopOn.FAILURE, [], None),
    ],
)
def test_a_batch_stops_at_the_first_trouble_that_it_was_told_to_stop_on(stop_on, troubles, cause):
    assert stopping(stop_on, troubles) == cause


@pytest.mark.parametrize(
    ("counts", "facts", "state"),
    [
        ({}, {"sealed": False}, BatchState.OPEN),
        ({JobState.WAITING: 1}, {"sealed": False}, BatchState.OPEN),
        ({JobState.CANCELLED: 1}, {"sealed": False, "stopped": True}, BatchState.CANCELLED),
        ({JobState.QUEUED: 1, JobState.FAILED: 1}, {}, BatchState.RUNNING),
        ({JobState.RUNNING: 1, JobState.SKIPPED: 1}, {"stopped": True}, BatchState.RUNNING),
        ({JobState.FAILED: 1, JobState.SKIPPED: 1}, {"stopped": True}, BatchState.STOPPED),
        ({JobState.SUCCEEDED: 2}, {}, BatchState.SUCCEEDED),
        ({JobState.SUCCEEDED: 2, JobState.RUNNING: 0}, {}, BatchState.SUCCEEDED),
        ({JobState.SUCCEEDED: 1, JobState.CANCELLED: 1, JobState.FAILED: 1}, {}, BatchState.FAILED),
        ({JobState.SUCCEEDED: 1, JobState.SKIPPED: 1}, {}, BatchState.CANCELLED),
    ],
)
def test_the_jobs_of_a_batch_stand_as_one(counts, facts, state):
    assert batch_state(counts, **{"sealed": True, "stopped": False, **facts}) is state
