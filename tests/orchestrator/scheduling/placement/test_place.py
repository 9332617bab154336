"""The one decision of the scheduler for jobs of one slot, over all the labs and queues that hypothesis thinks of."""

from dataclasses import replace

from builders.placement import SINGLES, SLOTS, a_job, a_slot, placed, queues
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.demand import Demand, FreeSlot
from orchestrator.model.slots import SlotKind
from orchestrator.scheduling.placement.candidate import Candidate, Placement

FREELY = st.builds(Demand, st.sampled_from(SlotKind))


def _slots(*names: str) -> list[FreeSlot]:
    return [a_slot(name) for name in names]


@given(queues(SINGLES), SLOTS)
def test_no_slot_and_no_job_is_placed_twice_and_nothing_is_made_up(queue, free):
    placements = placed(queue, free)

    slots, jobs = [each.slot_ids[0] for each in placements], [each.job_id for each in placements]
    assert len(set(slots)) == len(slots)
    assert len(set(jobs)) == len(jobs)
    assert set(slots) <= {slot.id for slot in free}
    assert set(jobs) <= {job.job_id for job in queue}


@given(queues(SINGLES), SLOTS)
def test_every_job_gets_only_a_slot_that_its_demand_admits(queue, free):
    by_job, slots = {job.job_id: job for job in queue}, {slot.id: slot for slot in free}

    assert all(by_job[each.job_id].demand.admits(slots[each.slot_ids[0]]) for each in placed(queue, free))


@given(queues(SINGLES), SLOTS)
def test_no_job_is_left_out_while_a_slot_that_it_could_have_stays_free(queue, free):
    placements = placed(queue, free)

    started, taken = {each.job_id for each in placements}, {each.slot_ids[0] for each in placements}
    idle = [slot for slot in free if slot.id not in taken]
    left = [job for job in queue if job.job_id not in started]
    assert not any(job.demand.admits(slot) for job in left for slot in idle)


@given(queues(FREELY), SLOTS)
def test_jobs_that_may_run_anywhere_fill_every_slot_there_is(queue, free):
    placements = placed(queue, free)

    for kind in SlotKind:
        jobs = sum(job.demand.kind is kind for job in queue)
        slots = sum(slot.name.kind is kind for slot in free)
        assert sum(a_slot(each.slot_ids[0]).name.kind is kind for each in placements) == min(jobs, slots)


@given(queues(SINGLES), SLOTS)
def test_among_equals_the_more_urgent_and_then_the_older_is_placed_first(queue, free):
    started = {each.job_id for each in placed(queue, free)}

    for job in queue:
        before = [
            other
            for other in queue
            if other.demand == job.demand
            and other.project == job.project
            and (-other.priority, other.rank, other.job_id) < (-job.priority, job.rank, job.job_id)
        ]
        assert job.job_id not in started or started >= {other.job_id for other in before}


@given(queues(SINGLES), queues(SINGLES), SLOTS)
def test_jobs_that_fit_nowhere_change_nothing_for_the_others(queue, more, free):
    hopeless = [
        Candidate(job.job_id + 1000, job.demand, 9, job.avoid)
        for job in more
        if not any(job.demand.admits(slot) for slot in free) and not job.demand.only
    ]

    assert placed([*hopeless, *queue], free) == placed(queue, free)


@given(queues(SINGLES), SLOTS, st.randoms(use_true_random=False))
def test_the_order_in_which_jobs_are_found_does_not_matter(queue, free, random):
    shuffled = random.sample(queue, len(queue))

    assert placed(shuffled, free) == placed(queue, free)


@given(queues(SINGLES), SLOTS)
def test_a_slot_where_it_failed_is_taken_only_if_nothing_else_is_left(queue, free):
    left = list(free)
    jobs = {job.job_id: job for job in queue}

    for each in placed(queue, free):
        job = jobs[each.job_id]
        if each.slot_ids[0] in job.avoid:
            assert all(slot.id in job.avoid for slot in left if job.demand.admits(slot))
        left = [slot for slot in left if slot.id != each.slot_ids[0]]


def test_a_job_that_avoids_all_that_is_free_runs_there_nevertheless():
    assert placed([a_job(1, avoid=frozenset({"a.g0"}))], _slots("a.g0")) == [Placement(1, ("a.g0",))]


def test_a_job_that_may_run_anywhere_leaves_the_slot_that_another_is_pinned_to():
    queue = [a_job(1, priority=9), a_job(2, "card_group g0", priority=0)]

    assert placed(queue, _slots("a.g0", "a.g1")) == [Placement(1, ("a.g1",)), Placement(2, ("a.g0",))]


def test_an_urgent_job_takes_even_the_slot_of_another_when_there_is_no_other():
    queue = [a_job(1, "card_group g0", priority=0), a_job(2, priority=9)]

    assert placed(queue, _slots("a.g0")) == [Placement(2, ("a.g0",))]


def test_the_slot_that_was_idle_longest_is_taken_first():
    assert placed([a_job(1)], _slots("a.g2", "a.g0", "a.g1")) == [Placement(1, ("a.g2",))]


def test_what_was_moved_to_the_front_goes_before_the_older_of_its_priority_and_after_a_higher_one():
    queue = [a_job(1), replace(a_job(2), rank=-7), a_job(3, priority=6)]

    turns = [placed(queue, _slots(*names)) for names in (["a.g0"], ["a.g0", "a.g1"])]

    assert [[each.job_id for each in placements] for placements in turns] == [[3], [3, 2]]
