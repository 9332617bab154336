"""What counts as a difference, and what is said when it cannot be known."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.verdicts import AnswerRule, Direction, Verdict, overall
from orchestrator.results import statistics
from orchestrator.results.verdicts import AnswerPairs, MetricGate, judge_answers, judge_metric

RATE = MetricGate(Direction.HIGHER)
SECONDS = MetricGate(Direction.LOWER)
SLOW, FAST = [100.0, 101, 99, 100.5, 99.5, 100.2, 99.8], [110.0, 111, 109, 110.5, 109.5, 110.2, 109.8]
SAMPLES = st.lists(st.floats(1, 1000), min_size=1, max_size=8)


def test_a_large_difference_of_enough_samples_is_better_or_worse_by_the_metrics_direction():
    assert judge_metric("rate", SLOW, FAST, RATE).verdict is Verdict.BETTER
    assert judge_metric("rate", FAST, SLOW, RATE).verdict is Verdict.WORSE
    assert judge_metric("seconds", SLOW, FAST, SECONDS).verdict is Verdict.WORSE


def test_one_run_each_is_never_a_verdict_but_says_how_many_it_takes():
    said = judge_metric("rate", [100.0], [50.0], RATE)

    assert said.verdict is Verdict.UNKNOWN
    assert said.relative == -0.5
    assert statistics.least_p_value(said.needed, said.needed) < RATE.alpha


def test_runs_that_differ_by_less_than_matters_are_the_same():
    said = judge_metric("rate", SLOW, [value * 1.002 for value in SLOW], RATE)

    assert said.verdict is Verdict.SAME


def test_what_the_floor_of_noise_hides_is_not_a_difference():
    assert judge_metric("rate", SLOW, FAST, RATE, floor=0.06).verdict is not Verdict.BETTER


@pytest.mark.parametrize(("before", "after"), [([], SLOW), (SLOW, []), ([], [])])
def test_nothing_measured_is_missing_and_never_the_same(before, after):
    assert judge_metric("rate", before, after, RATE).verdict is Verdict.MISSING


def test_each_of_several_looks_gets_its_part_of_the_probability_of_a_false_alarm():
    five_better = SLOW[:5], FAST[:5]

    assert judge_metric("rate", *five_better, RATE).verdict is Verdict.BETTER
    assert judge_metric("rate", *five_better, MetricGate(Direction.HIGHER, looks=3)).verdict is Verdict.UNKNOWN


@settings(deadline=None)  # the first call loads scipy.stats
@given(SAMPLES, SAMPLES)
def test_to_swap_the_sides_turns_the_verdict_round(before, after):
    turned = {Verdict.BETTER: Verdict.WORSE, Verdict.WORSE: Verdict.BETTER}
    wide = MetricGate(Direction.HIGHER, effect=1e-9)

    one, other = judge_metric("m", before, after, wide), judge_metric("m", after, before, wide)

    assert other.verdict is turned.get(one.verdict, one.verdict) or Verdict.UNKNOWN in (one.verdict, other.verdict)
    assert math.isclose(one.shift.difference, -other.shift.difference, abs_tol=1e-9)


@settings(deadline=None)  # the first call loads scipy.stats
@given(SAMPLES, SAMPLES)
def test_the_interval_holds_the_difference(before, after):
    moved = statistics.shift(before, after)

    assert moved.low <= moved.difference <= moved.high


def test_the_interval_holds_the_true_shift_as_often_as_it_says():
    chance = random.Random(7)
    held = 0
    for _ in range(400):
        before = [chance.gauss(100, 3) for _ in range(8)]
        moved = statistics.shift(before, [chance.gauss(105, 3) for _ in range(8)])
        held += moved.low <= 5 <= moved.high

    assert 0.92 <= held / 400 <= 1


def test_exact_probabilities_are_those_of_published_tables():
    # Mann and Whitney 1947, and McNemar's binomial by hand: 2 * (1 + 9) / 2**9.
    assert statistics.p_value([1, 2, 3], [4, 5, 6]) == pytest.approx(0.1)
    assert statistics.p_value(range(5), range(5, 10)) == pytest.approx(2 / 252)
    assert statistics.p_value(range(4), range(4, 32)) == pytest.approx(2 / math.comb(32, 4))
    assert statistics.mcnemar(8, 1) == pytest.approx(20 / 512)
    assert statistics.corrected([0.01, 0.2, 0.03]) == pytest.approx([0.03, 0.2, 0.045])


def test_answers_that_must_not_change_are_worse_if_one_of_a_thousand_does():
    assert judge_answers(AnswerPairs(1000, 0), AnswerRule.UNCHANGED).verdict is Verdict.SAME
    assert judge_answers(AnswerPairs(1000, 1), AnswerRule.UNCHANGED).verdict is Verdict.WORSE


def test_right_and_wrong_are_compared_prompt_by_prompt():
    # 50 of 100 right on both sides, and yet sixteen turned wrong: no comparison of two rates sees it.
    assert judge_answers(AnswerPairs(100, 20, 16, 2, 100), AnswerRule.NOT_WORSE).verdict is Verdict.WORSE
    assert judge_answers(AnswerPairs(100, 20, 2, 16, 100), AnswerRule.NOT_WORSE).verdict is Verdict.BETTER
    assert judge_answers(AnswerPairs(100, 2, 1, 1, 100), AnswerRule.NOT_WORSE).verdict is Verdict.SAME
    assert judge_answers(AnswerPairs(100, 3, 3, 0, 100), AnswerRule.NOT_WORSE).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize("rule", [AnswerRule.UNCHANGED, AnswerRule.NOT_WORSE])
def test_answers_without_a_counterpart_are_missing_and_no_pass(rule):
    assert judge_answers(AnswerPairs(0, 0), rule).verdict is Verdict.MISSING
    assert judge_answers(AnswerPairs(9, 0, judged=9, alone=1), rule).verdict is Verdict.MISSING


def test_not_worse_without_a_reference_is_unknown():
    assert judge_answers(AnswerPairs(9, 1, judged=8), AnswerRule.NOT_WORSE).verdict is Verdict.UNKNOWN


def test_the_gravest_verdict_stands_for_all_and_none_at_all_is_missing():
    assert overall([Verdict.SAME, Verdict.WORSE, Verdict.UNKNOWN]) is Verdict.WORSE
    assert overall([Verdict.SAME, Verdict.UNKNOWN, Verdict.BETTER]) is Verdict.UNKNOWN
    assert overall([Verdict.SAME, Verdict.BETTER]) is Verdict.BETTER
    assert overall([]) is Verdict.MISSING


def test_the_interval_of_unequal_sides_is_exact_too():
    moved = statistics.shift([0.0, 100, 200, 300], [1000.0 * (i + 1) + i for i in range(28)])

    assert math.isfinite(moved.low)
    assert moved.low < moved.difference < moved.high
