"""Two sides in blocks: a drift is no difference, and a difference is found under a drift."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.ab import ABBA, order_of
from orchestrator.model.verdicts import Direction, Verdict
from orchestrator.results.blocks import in_blocks, judge_blocks
from orchestrator.results.verdicts import MetricGate

GATE = MetricGate(Direction.HIGHER, effect=0.02, alpha=0.01)


def _measured(order: list[str], *, effect: float, drift: float, noise: float, seed: int = 1):
    """Values of runs in that order: B is higher by `effect`, and each run by `drift` than the one before."""
    dice = random.Random(seed)
    return [
        (side, 100 * (1 + effect * (side == "b") + drift * place + dice.gauss(0, noise)))
        for place, side in enumerate(order)
    ]


@settings(deadline=None)  # the first example loads scipy.stats
@given(st.floats(-0.01, 0.01), st.integers(2, 20), st.sampled_from(["abba", "random"]), st.integers(0, 99))
def test_a_linear_drift_is_no_difference_at_all(drift, blocks, order, seed):
    runs = _measured(order_of(blocks, order, random.Random(seed)), effect=0, drift=drift, noise=0)

    found = judge_blocks("output_throughput", in_blocks(runs), GATE)

    assert found.blocks == pytest.approx([0] * blocks, abs=1e-9)
    assert found.verdict is Verdict.SAME
    assert found.drift * 100 == pytest.approx(drift * 10_000 / _median(runs), abs=1e-6)


def _median(runs) -> float:
    values = sorted(value for side, value in runs if side == "a")
    return (values[len(values) // 2] + values[(len(values) - 1) // 2]) / 2


def test_the_same_drift_would_be_taken_for_a_difference_without_the_order():
    runs = _measured(["a", "a", "b", "b"] * 8, effect=0, drift=0.02, noise=0.001)

    found = judge_blocks("output_throughput", in_blocks(runs), GATE)

    assert found.verdict is Verdict.BETTER


@pytest.mark.parametrize(
    ("effect", "direction", "verdict"),
    [
        (0.05, Direction.HIGHER, Verdict.BETTER),
        (-0.05, Direction.HIGHER, Verdict.WORSE),
        (0.05, Direction.LOWER, Verdict.WORSE),
        (0.0, Direction.HIGHER, Verdict.SAME),
        (0.05, Direction.NEITHER, Verdict.SAME),
    ],
)
def test_a_difference_is_found_under_a_drift(effect, direction, verdict):
    runs = _measured(order_of(8, "random", random.Random(7)), effect=effect, drift=-0.01, noise=0.005)

    found = judge_blocks("m", in_blocks(runs), MetricGate(direction, 0.02, 0.01))

    assert found.verdict is verdict


def test_too_much_noise_is_unknown_and_says_how_many_blocks_it_takes():
    runs = _measured(list(ABBA) * 3, effect=0, drift=0, noise=0.1, seed=5)

    found = judge_blocks("m", in_blocks(runs), GATE)

    assert found.verdict is Verdict.UNKNOWN
    assert found.needed > 3
    assert str(found.needed) in found.why


def test_a_block_with_a_run_that_has_no_value_is_left_out_and_no_block_is_missing():
    runs: list = _measured(list(ABBA) * 3, effect=0, drift=0, noise=0)
    runs[5] = ("b", None)

    assert len(in_blocks(runs)) == 2
    assert judge_blocks("m", in_blocks([("a", None)] * 8), GATE).verdict is Verdict.MISSING
    assert judge_blocks("m", in_blocks(runs[:4]), GATE).verdict is Verdict.UNKNOWN


def test_equal_values_are_the_same():
    found = judge_blocks("m", in_blocks([(side, 5.0) for side in ABBA * 5]), GATE)

    assert (found.verdict, found.p_value, found.low, found.high) == (Verdict.SAME, 1.0, 0.0, 0.0)


def test_a_random_order_uses_both_blocks_and_every_block_has_both_sides_twice():
    order = order_of(50, "random", random.Random(3))
    blocks = {tuple(order[start : start + 4]) for start in range(0, 200, 4)}

    assert blocks == {("a", "b", "b", "a"), ("b", "a", "a", "b")}
