"""What is told when nothing of what is watched moves."""

from collections.abc import Iterator

import pytest

from api.client.client import Client
from cli.waiting.standstill import PATIENCE, Standstill
from orchestrator.model.states import JobState

QUEUED = [JobState.QUEUED, JobState.SUCCEEDED]


@pytest.fixture
def client(site) -> Iterator[Client]:
    with Client(site.server, site.token) as client:
        yield client


def test_jobs_that_wait_and_do_not_begin_say_what_for(client, queued):
    why = Standstill(client, patience=0).why(QUEUED, lambda: queued)

    assert why is not None
    assert why.line.startswith(f"none of these jobs runs; job {queued} waits for ")
    assert why.kinds
    assert all(f"{kind}: " in why.line for kind in why.kinds)


@pytest.mark.parametrize("states", [[JobState.QUEUED, JobState.RUNNING], [JobState.SUCCEEDED], []])
def test_nothing_is_told_while_something_runs_or_nothing_waits(client, queued, states):
    assert Standstill(client, patience=0).why(states, lambda: queued) is None


def test_a_job_is_given_its_time_to_begin(client, queued):
    assert Standstill(client, PATIENCE).why(QUEUED, lambda: queued) is None


def test_a_server_that_is_away_is_no_reason(queued):
    with Client("http://127.0.0.1:1", "token") as gone:
        assert Standstill(gone, patience=0).why(QUEUED, lambda: queued) is None
