"""The line: whichever slot becomes free gets from it the job that a turn would place there."""

import pytest
from builders.placement import SINGLES, a_host, a_job, a_slot, placed
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.place import following

SLOTS = [*a_host("a", 3), a_slot("a.cpu0"), a_slot("b.g0"), a_slot("b.g1")]
QUEUES = st.lists(st.tuples(SINGLES, st.integers(0, 9), st.integers(-1, 0)), max_size=8).map(
    lambda jobs: [
        Candidate(number, demand, priority, rank=rank) for number, (demand, priority, rank) in enumerate(jobs)
    ]
)


@given(QUEUES, st.sampled_from(SLOTS))
def test_a_slot_that_becomes_free_alone_gets_what_a_turn_would_place_there(queue, slot):
    line = following(queue, SLOTS, {}, most=100)

    first = [candidate.job_id for candidate in line if candidate.demand.admits(slot)][:1]
    assert first == [placement.job_id for placement in placed(queue, [slot])]


@pytest.mark.parametrize(
    "job",
    [
        a_job(2, "card_group x2"),
        a_job(2, avoid=frozenset({"a.g0"})),
        a_job(2, "card_group a.g0 canary"),
        a_job(2, "card_group provision"),
    ],
    ids=["gang", "failed before", "canary", "host set-up"],
)
def test_the_line_ends_before_a_job_that_only_a_turn_can_place(job):
    assert [each.job_id for each in following([a_job(1), job, a_job(3)], SLOTS, {}, most=100)] == [1]


def test_a_job_that_no_slot_admits_holds_up_nobody():
    queue = [a_job(1, "card_group c.g7 x2", priority=9), a_job(2)]

    assert [each.job_id for each in following(queue, SLOTS, {}, most=100)] == [2]


def test_projects_take_turns_in_the_line():
    queue = [a_job(number, project=project) for number, project in enumerate("aaabb")]

    assert [each.project for each in following(queue, SLOTS, {}, most=4)] == ["a", "b", "a", "b"]
