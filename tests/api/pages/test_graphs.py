"""A pipeline as a graph of steps."""

from datetime import UTC, datetime
from itertools import count

from api.documents.jobs import JobView
from api.pages.graphs import MOST_STEPS, graph_of
from orchestrator.model.states import JobState

AT = datetime(2026, 3, 1, tzinfo=UTC)


def a_job(number, kind, state=JobState.QUEUED):
    return JobView(
        id=number, name=f"{kind}-{number}", kind=kind, state=state, project="default", pipeline_id=1, priority=5,
        release=None, slot=None, cancel_requested=False, cached_from=None, joined_to=None, failure=None, created_at=AT,
        queued_at=None, started_at=None, ended_at=None, version=1,
    )  # fmt: skip


def test_a_fan_out_is_one_step_with_its_counts():
    jobs = [a_job(1, "compile", JobState.SUCCEEDED), a_job(2, "infer"), a_job(3, "infer", JobState.FAILED)]

    graph = graph_of(jobs, {2: (1,), 3: (1,)})

    made, ran = graph.steps
    assert (len(ran.jobs), ran.state, ran.counts) == (2, JobState.FAILED, {JobState.QUEUED: 1, JobState.FAILED: 1})
    assert (made.depth, ran.depth, len(graph.lines)) == (0, 1, 1)


def test_a_step_stands_after_everything_that_it_needs():
    jobs = [a_job(1, "quantize"), a_job(2, "convert"), a_job(3, "compile"), a_job(4, "infer")]

    graph = graph_of(jobs, {2: (1,), 3: (2,), 4: (1, 3)})

    assert [step.depth for step in graph.steps] == [0, 1, 2, 3]
    assert len({(step.x, step.y) for step in graph.steps}) == 4


def test_a_pipeline_of_many_different_steps_is_drawn_in_part():
    numbers = count(1)
    jobs = [a_job(next(numbers), f"kind{place}") for place in range(MOST_STEPS + 5)]

    assert graph_of(jobs, {}).more == 5
