"""Who comes first: nothing starves, priorities count, and projects get what their weights say. In virtual time."""

from collections import Counter
from datetime import timedelta

import pytest
from builders.placement import placed
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.demand import Demand, FreeSlot
from orchestrator.model.shares import LEAST_CHARGE, Share, faded
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.order import MOST_URGENT, urgency, waited_for

SIMULATED = settings(deadline=None, max_examples=settings.default.max_examples // 4)
GROUP = Demand(SlotKind.CARD_GROUP)
HOUR = timedelta(hours=1)
PRIORITIES = st.integers(0, 9)
WAITED = st.timedeltas(timedelta(0), timedelta(days=30))


def _slots(number: int) -> list[FreeSlot]:
    return [FreeSlot(f"h{index}.g0", SlotName(SlotKind.CARD_GROUP, 0)) for index in range(number)]


def _shared(shares: dict[str, Share], turns: int, slots: int, lengths: dict[str, float]) -> Counter[str]:
    """Slot-seconds of each project that always has work, after so many turns in each of which all slots are free."""
    had: Counter[str] = Counter()
    number = 0
    for _ in range(turns):
        queue = []
        for project in shares:
            for _ in range(slots):
                number += 1
                queue.append(Candidate(number, GROUP, 5, project=project))
        owner = {job.job_id: job.project for job in queue}
        for placement in placed(queue, _slots(slots), shares=shares):
            project = owner[placement.job_id]
            shares[project] = shares[project].charged(lengths[project])
            had[project] += lengths[project]
    return had


@given(PRIORITIES, PRIORITIES, WAITED, st.timedeltas(timedelta(seconds=1), timedelta(days=2)))
def test_a_priority_is_reached_by_waiting_exactly_as_long_as_is_said(priority, level, waited, aging):
    reached = urgency(priority, waited=waited, aging=aging) >= level

    assert reached == (waited >= waited_for(priority, level, aging=aging))


@given(PRIORITIES, WAITED)
def test_waiting_never_lowers_and_never_lifts_above_the_most_urgent(priority, waited):
    assert priority <= urgency(priority, waited=waited, aging=HOUR) <= MOST_URGENT


@given(st.floats(0, 1e9), WAITED)
def test_what_was_used_halves_in_each_half_life(seconds, age):
    assert faded(seconds, age=age + HOUR, half_life=HOUR) == pytest.approx(
        faded(seconds, age=age, half_life=HOUR) / 2, rel=1e-6, abs=1e-6
    )


@SIMULATED
@given(PRIORITIES, st.integers(1, 4), st.sampled_from(["mine", "another"]))
def test_nothing_starves_while_more_urgent_jobs_keep_coming(priority, slots, rival):
    """Each hour as many of the most urgent jobs arrive as there are slots, and each takes its slot for that hour."""
    victim, placed_at = 0, None
    shares = {"mine": Share(), "another": Share()}
    queue = dict.fromkeys(range(1, slots + 1), (rival, MOST_URGENT, 0)) | {victim: ("mine", priority, 0)}

    for hour in range(30):
        for number in range(slots):
            queue[1000 * (hour + 1) + number] = (rival, MOST_URGENT, hour)
        waiting = [
            Candidate(number, GROUP, urgency(asked, waited=(hour - since) * HOUR, aging=HOUR), project=project)
            for number, (project, asked, since) in queue.items()
        ]
        for placement in placed(waiting, _slots(slots), shares=shares):
            project = queue.pop(placement.job_id)[0]
            shares[project] = shares[project].charged(3600)
            if placement.job_id == victim:
                placed_at = hour
        if placed_at is not None:
            break

    assert placed_at is not None
    assert placed_at <= MOST_URGENT - priority


@given(PRIORITIES, PRIORITIES, st.floats(0, 1e6), st.floats(0, 1e6))
def test_a_more_urgent_job_comes_first_whatever_its_project_has_had(one, other, used_by_one, used_by_other):
    queue = [Candidate(1, GROUP, one, project="one"), Candidate(2, GROUP, other, project="other")]
    shares = {"one": Share(used_by_one), "other": Share(used_by_other)}

    (placement,) = placed(queue, _slots(1), shares=shares)

    first = max(one, other)
    assert {1: one, 2: other}[placement.job_id] == first


@SIMULATED
@given(st.integers(1, 8), st.floats(0, 5000), st.floats(30, 600), st.floats(30, 600))
def test_projects_of_equal_weight_get_equal_shares_however_long_their_jobs_are(slots, ahead, one, other):
    shares = {"one": Share(ahead), "other": Share()}

    had = _shared(shares, 200, slots, {"one": one, "other": other})

    slack = ahead + (slots + 1) * (max(one, other) + LEAST_CHARGE)
    assert abs(had["one"] - had["other"]) <= slack


@SIMULATED
@given(st.integers(1, 8), st.floats(0.5, 4))
def test_shares_follow_the_weights(slots, weight):
    shares = {"heavy": Share(weight=weight), "light": Share(weight=1.0)}

    had = _shared(shares, 300, slots, {"heavy": 60.0, "light": 60.0})

    assert had["heavy"] / had["light"] == pytest.approx(weight, rel=0.1)


def test_two_to_one_is_two_to_one():
    had = _shared({"a": Share(weight=2), "b": Share(weight=1)}, turns=300, slots=3, lengths={"a": 60.0, "b": 60.0})

    assert had["a"] / had["b"] == pytest.approx(2, rel=0.02)


def test_projects_that_have_had_nothing_divide_the_slots_of_one_turn():
    queue = [Candidate(number, GROUP, 5, project="a" if number <= 8 else "b") for number in range(1, 17)]

    started = {placement.job_id for placement in placed(queue, _slots(8))}

    assert started == {1, 2, 3, 4, 9, 10, 11, 12}


def test_a_slot_that_ran_the_same_kernel_image_is_preferred():
    cold, warm = (FreeSlot(f"lab.g{index}", SlotName.parse(f"g{index}"), kcore=f"k{index}") for index in (0, 1))

    (placement,) = placed([Candidate(1, GROUP, 5, kcore="k1")], [cold, warm])

    assert (placement.slot_ids, placement.why) == (
        ("lab.g1",),
        "the kernel image that was placed on this slot last is the same",
    )


def test_a_slot_where_it_failed_is_avoided_even_if_it_has_the_kernel_image():
    cold, warm = (FreeSlot(f"lab.g{index}", SlotName.parse(f"g{index}"), kcore=f"k{index}") for index in (0, 1))

    (placement,) = placed([Candidate(1, GROUP, 5, avoid=frozenset({"lab.g1"}), kcore="k1")], [cold, warm])

    assert placement.slot_ids == ("lab.g0",)
