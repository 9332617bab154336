"""The odd card group is named, and nobody is named without one."""

import random

from orchestrator.model.verdicts import Direction, Verdict
from orchestrator.results.outliers import odd_groups
from orchestrator.results.verdicts import MetricGate

RATE = MetricGate(Direction.HIGHER)
SLOTS = [f"lab1.g{index}" for index in range(8)]
CARDS = {slot: (4 * index, 4 * index + 1, 4 * index + 2, 4 * index + 3) for index, slot in enumerate(SLOTS)}


def runs(chance: random.Random, times: int = 5, spread: float = 0.03, **slower: float) -> dict[str, list[float]]:
    return {
        slot: [chance.gauss(100 * slower.get(slot.rpartition(".")[2], 1), 100 * spread) for _ in range(times)]
        for slot in SLOTS
    }


def test_a_slow_group_is_named_with_its_cards_and_how_far_it_is_off():
    (odd,) = odd_groups("output_throughput", runs(random.Random(1), g3=0.7), RATE, CARDS)

    assert (odd.slot_id, odd.cards, odd.verdict) == ("lab1.g3", (12, 13, 14, 15), Verdict.WORSE)
    assert odd.value < 80 < odd.usual


def test_a_fast_group_is_odd_as_well():
    (odd,) = odd_groups("output_throughput", runs(random.Random(2), g0=1.5), RATE, CARDS)

    assert (odd.slot_id, odd.verdict) == ("lab1.g0", Verdict.BETTER)


def test_among_equal_groups_hardly_ever_one_is_named():
    chance = random.Random(3)
    named = sum(
        odd.verdict is not Verdict.UNKNOWN for _ in range(1000) for odd in odd_groups("m", runs(chance), RATE, CARDS)
    )

    assert named <= 10  # of a thousand: what alpha says


def test_groups_that_agree_to_the_last_digit_make_no_outlier_of_a_hair():
    samples = {slot: [100.0] * 5 for slot in SLOTS} | {"lab1.g5": [100.5] * 5}

    assert odd_groups("m", samples, RATE, CARDS) == []


def test_one_run_of_each_gives_a_suspicion_and_no_verdict():
    samples = {slot: [100.0 + index / 10] for index, slot in enumerate(SLOTS)} | {"lab1.g5": [50.0]}

    (odd,) = odd_groups("m", samples, RATE, CARDS)

    assert odd.verdict is Verdict.UNKNOWN
    assert "too few" in odd.why


def test_three_groups_have_nothing_usual_to_differ_from():
    samples = {slot: [100.0, 101.0] for slot in SLOTS[:2]} | {"lab1.g2": [10.0, 11.0]}

    assert odd_groups("m", samples, RATE, CARDS) == []
