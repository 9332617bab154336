"""The one decision of the scheduler, over all the labs and queues that hypothesis thinks of."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.placement.demand import Demand, FreeSlot
from orchestrator.placement.place import Candidate, Placement, place

NAMES = [f"g{index}" for index in range(3)] + ["cpu0", "cpu1"]
IDS = [f"{host}.{name}" for host in ("a", "b") for name in NAMES]
SLOTS = st.lists(st.sampled_from(IDS), unique=True).map(lambda ids: [_slot(text) for text in ids])
PATTERNS = st.sampled_from(NAMES + IDS)
DEMANDS = st.builds(Demand, st.sampled_from(SlotKind), st.none() | PATTERNS, st.frozensets(PATTERNS, max_size=3))
FREELY = st.builds(Demand, st.sampled_from(SlotKind))


def _slot(text: str) -> FreeSlot:
    return FreeSlot(text, SlotName.parse(text.rpartition(".")[2]))


def _queue(demands: st.SearchStrategy[Demand]) -> st.SearchStrategy[list[Candidate]]:
    jobs = st.builds(
        Candidate, st.integers(1, 1000), demands, st.integers(0, 9), st.frozensets(st.sampled_from(IDS), max_size=3)
    )
    return st.lists(jobs, max_size=12, unique_by=lambda job: job.job_id)


def _job(number: int, key: str = "card_group", priority: int = 5, avoid: tuple[str, ...] = ()) -> Candidate:
    return Candidate(number, Demand.parse(key), priority, frozenset(avoid))


def _slots(*names: str) -> list[FreeSlot]:
    return [_slot(name) for name in names]


@given(_queue(DEMANDS), SLOTS)
def test_no_slot_and_no_job_is_placed_twice_and_nothing_is_made_up(queue, free):
    placements = place(queue, free)

    slots, jobs = [each.slot_id for each in placements], [each.job_id for each in placements]
    assert len(set(slots)) == len(slots)
    assert len(set(jobs)) == len(jobs)
    assert set(slots) <= {slot.id for slot in free}
    assert set(jobs) <= {job.job_id for job in queue}


@given(_queue(DEMANDS), SLOTS)
def test_every_job_gets_only_a_slot_that_its_demand_admits(queue, free):
    by_job = {job.job_id: job for job in queue}

    assert all(by_job[each.job_id].demand.admits(_slot(each.slot_id)) for each in place(queue, free))


@given(_queue(DEMANDS), SLOTS)
def test_no_job_is_left_out_while_a_slot_that_it_could_have_stays_free(queue, free):
    placements = place(queue, free)

    placed, taken = {each.job_id for each in placements}, {each.slot_id for each in placements}
    idle = [slot for slot in free if slot.id not in taken]
    left = [job for job in queue if job.job_id not in placed]
    assert not any(job.demand.admits(slot) for job in left for slot in idle)


@given(_queue(FREELY), SLOTS)
def test_jobs_that_may_run_anywhere_fill_every_slot_there_is(queue, free):
    placements = place(queue, free)

    for kind in SlotKind:
        jobs = sum(job.demand.kind is kind for job in queue)
        slots = sum(slot.name.kind is kind for slot in free)
        assert sum(_slot(each.slot_id).name.kind is kind for each in placements) == min(jobs, slots)


@given(_queue(DEMANDS), SLOTS)
def test_among_equals_the_more_urgent_and_then_the_older_is_placed_first(queue, free):
    placed = {each.job_id for each in place(queue, free)}

    for job in queue:
        before = [
            other
            for other in queue
            if other.demand == job.demand and (-other.priority, other.job_id) < (-job.priority, job.job_id)
        ]
        assert job.job_id not in placed or placed >= {other.job_id for other in before}


@given(_queue(DEMANDS), _queue(DEMANDS), SLOTS)
def test_jobs_that_fit_nowhere_change_nothing_for_the_others(queue, more, free):
    hopeless = [
        Candidate(job.job_id + 1000, job.demand, 9, job.avoid)
        for job in more
        if not any(job.demand.admits(slot) for slot in free) and job.demand.only is None
    ]

    assert place([*hopeless, *queue], free) == place(queue, free)


@given(_queue(DEMANDS), SLOTS, st.randoms(use_true_random=False))
def test_the_order_in_which_jobs_are_found_does_not_matter(queue, free, random):
    shuffled = random.sample(queue, len(queue))

    assert place(shuffled, free) == place(queue, free)


@given(_queue(DEMANDS), SLOTS)
def test_a_slot_where_it_failed_is_taken_only_if_nothing_else_is_left(queue, free):
    left = list(free)
    jobs = {job.job_id: job for job in queue}

    for each in place(queue, free):
        job = jobs[each.job_id]
        if each.slot_id in job.avoid:
            assert all(slot.id in job.avoid for slot in left if job.demand.admits(slot))
        left = [slot for slot in left if slot.id != each.slot_id]


def test_a_job_that_avoids_all_that_is_free_runs_there_nevertheless():
    assert place([_job(1, avoid=("a.g0",))], _slots("a.g0")) == [Placement(1, "a.g0")]


def test_a_job_that_may_run_anywhere_leaves_the_slot_that_another_is_pinned_to():
    queue = [_job(1, priority=9), _job(2, "card_group g0", priority=0)]

    assert place(queue, _slots("a.g0", "a.g1")) == [Placement(1, "a.g1"), Placement(2, "a.g0")]


def test_an_urgent_job_takes_even_the_slot_of_another_when_there_is_no_other():
    queue = [_job(1, "card_group g0", priority=0), _job(2, priority=9)]

    assert place(queue, _slots("a.g0")) == [Placement(2, "a.g0")]


def test_the_slot_that_was_idle_longest_is_taken_first():
    assert place([_job(1)], _slots("a.g2", "a.g0", "a.g1")) == [Placement(1, "a.g2")]


def test_what_was_moved_to_the_front_goes_before_the_older_of_its_priority_and_after_a_higher_one():
    queue = [_job(1), replace(_job(2), rank=-7), _job(3, priority=6)]

    placed = [place(queue, _slots(*names)) for names in (["a.g0"], ["a.g0", "a.g1"])]

    assert [[each.job_id for each in placements] for placements in placed] == [[3], [3, 2]]
