"""What follows for a cell: chance is kept within alpha over all looks, and a second measurement decides."""

import random
from typing import Any

import pytest

from orchestrator.model.suites import CellOutcome, SuiteDocument
from orchestrator.model.verdicts import Verdict
from orchestrator.results.cells import (
    CellMeasured,
    Confirm,
    Judged,
    MoreRuns,
    as_document,
    next_step,
    problem_of,
    rules_of,
    worst_place,
)
from orchestrator.results.sides import AnswerOf, Comparison, Side, compare

KCORE = {"digest": f"sha256:{'a' * 64}"}
METRIC = "output_throughput"
SETTING = ({"kind": "infer"},)


def _suite(**facts: Any) -> SuiteDocument:
    matrix = {"models": ["m1"], "prompts": {"basic": {"prompts": KCORE}}}
    gates = {METRIC: {"effect": 0.03, "alpha": 0.05}}
    told = {"name": "s", "matrix": matrix, "template": {"kcore": KCORE}, "gates": gates, "answers": "report", **facts}
    return SuiteDocument.model_validate(told)


def _side(values: list[float], answers: str | None = None) -> Side:
    said = () if answers is None else (AnswerOf("q", 0, answers, None),)
    definitions = {METRIC: ("tokens/s", "d1")} if values else {}
    return Side("side", SETTING, {METRIC: tuple(values)} if values else {}, definitions, said)


def _verdict(verdict: Verdict) -> Comparison:
    return Comparison(verdict, f"it is {verdict}", ())


def _measure(document: SuiteDocument, middle: float, noise: float, dice: random.Random) -> Judged | Confirm:
    """A cell against a baseline around 100, measured until it is judged or has to be confirmed."""
    baseline = _side([dice.gauss(100, noise) for _ in range(document.most_runs)])
    values: list[float] = []
    step: Any = MoreRuns(document.repeats)
    while isinstance(step, MoreRuns):
        values += [dice.gauss(middle, noise) for _ in range(step.count)]
        found = compare(baseline, _side(values), rules_of(document, {}))
        step = next_step(document, CellMeasured(found, len(values)))
    return step


def test_chance_calls_nothing_worse_more_often_than_alpha_says_over_all_looks():
    document, dice = _suite(repeats=5, budget=20, confirm=False), random.Random(81)

    steps = [_measure(document, 100, 4, dice) for _ in range(300)]

    false = sum(step.verdict in (Verdict.WORSE, Verdict.BETTER) for step in steps)
    assert false <= 0.05 * len(steps)


def test_a_change_of_twice_the_noise_is_found_within_the_budget():
    document, dice = _suite(repeats=5, budget=20), random.Random(81)

    steps = [_measure(document, 92, 4, dice) for _ in range(60)]

    assert sum(isinstance(step, Confirm) for step in steps) >= 0.95 * len(steps)


def test_a_change_that_was_found_after_a_few_runs_is_confirmed_by_the_second_measurement():
    document, dice = _suite(repeats=5, budget=20), random.Random(81)
    rules = rules_of(document, {})
    outcomes = []
    for _ in range(60):
        baseline = _side([dice.gauss(100, 3) for _ in range(20)])
        few = compare(baseline, _side([dice.gauss(94, 3) for _ in range(5)]), rules)
        step = next_step(document, CellMeasured(few, 5))
        if isinstance(step, Confirm):
            again = (_side([dice.gauss(94, 3) for _ in range(step.count)]) for _ in range(2))
            same, other = (compare(baseline, side, rules) for side in again)
            outcomes.append(next_step(document, CellMeasured(few, 5, same, other, confirming=True)).outcome)

    assert len(outcomes) > 20
    assert outcomes.count(CellOutcome.MODEL_OR_TOOLCHAIN) >= 0.9 * len(outcomes)


def test_a_cell_is_measured_again_as_often_as_it_was_until_the_budget_is_used():
    document = _suite(repeats=5, budget=20)
    found = compare(_side([90, 95, 100, 105, 110]), _side([91, 96, 99, 104, 111]), rules_of(document, {}))
    assert found.verdict is Verdict.UNKNOWN

    steps = [next_step(document, CellMeasured(found, ordered)) for ordered in (5, 10, 20)]

    assert steps[:2] == [MoreRuns(5), MoreRuns(10)]
    assert isinstance(steps[2], Judged)
    assert str(found.metrics[0].needed) in steps[2].why


def test_what_a_reference_is_missing_for_is_not_measured_again():
    document = _suite(repeats=5, budget=20, gates={}, answers="not_worse")
    found = compare(_side([], "a"), _side([], "b"), rules_of(document, {}))

    step = next_step(document, CellMeasured(found, 5))

    assert (found.verdict, step.verdict) == (Verdict.UNKNOWN, Verdict.UNKNOWN)


W, S, B, U, M, I = (  # noqa: E741
    Verdict.WORSE, Verdict.SAME, Verdict.BETTER, Verdict.UNKNOWN, Verdict.MISSING, Verdict.INFRASTRUCTURE,
)  # fmt: skip


@pytest.mark.parametrize(
    ("same", "other", "verdict", "outcome"),
    [
        (W, W, W, CellOutcome.MODEL_OR_TOOLCHAIN),
        (W, S, I, CellOutcome.CARD),
        (W, B, I, CellOutcome.CARD),
        (S, S, S, CellOutcome.NOT_CONFIRMED),
        (B, U, B, CellOutcome.NOT_CONFIRMED),
        (S, None, S, CellOutcome.NOT_CONFIRMED),
        (S, W, U, CellOutcome.UNDECIDED),
        (W, M, W, CellOutcome.UNDECIDED),
        (W, None, W, CellOutcome.UNDECIDED),
        (I, W, W, CellOutcome.UNDECIDED),
        (U, U, U, CellOutcome.UNDECIDED),
        (U, None, U, CellOutcome.UNDECIDED),
        (U, W, W, CellOutcome.UNDECIDED),
        (W, U, W, CellOutcome.UNDECIDED),
        (None, None, W, CellOutcome.UNDECIDED),
    ],
)
def test_the_second_measurement_says_whether_it_is_the_card_or_a_false_alarm(same, other, verdict, outcome):
    again = [None if each is None else _verdict(each) for each in (same, other)]

    step = next_step(_suite(repeats=5), CellMeasured(_verdict(W), 5, *again, confirming=True))

    assert (step.verdict, step.outcome) == (verdict, outcome)


def test_what_is_slower_at_first_is_measured_again_as_often_as_the_budget_allows():
    document = _suite(repeats=5, budget=20)
    found = compare(_side([98, 99, 100, 101, 102] * 4), _side([89, 90, 91, 90.5, 89.5]), rules_of(document, {}))

    assert next_step(document, CellMeasured(found, 5)) == Confirm(20)


def test_changed_answers_are_asked_for_again_as_often_as_before():
    document = _suite(repeats=2, budget=20, answers="unchanged")
    found = compare(_side([100.0] * 5, "a"), _side([100.0] * 2, "b"), rules_of(document, {}))

    assert next_step(document, CellMeasured(found, 2)) == Confirm(2)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_what_is_worse_is_measured_again_on_another_card_group(verdict):
    step = next_step(_suite(repeats=5), CellMeasured(_verdict(verdict), 5))

    assert isinstance(step, Confirm) == (verdict is W)


def test_the_place_that_is_worst_is_the_one_with_wrong_answers_then_the_slowest():
    rules = rules_of(_suite(repeats=5), {})
    before = _side([100.0], "a")

    wrong = worst_place(before, {"g0": _side([50.0], "a"), "g1": _side([100.0], "b")}, rules)
    slow = worst_place(before, {"g0": _side([100.0], "a"), "g1": _side([99.0], "a")}, rules)

    assert (wrong, slow) == ("g1", "g1")


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"repeats": 3}, "budget"),
        ({"repeats": 5, "gates": {METRIC: {"alpha": 0.001}}}, "budget"),
        ({"repeats": 5, "gates": {METRIC: {}, "ttft_seconds_p50": {}}}, "budget"),
        ({"repeats": 5, "gates": {"fan_speed": {}}}, "gates.fan_speed.direction"),
    ],
)
def test_a_gate_that_can_never_speak_is_a_problem(facts, field):
    assert problem_of(_suite(**facts))[0] == field
    assert problem_of(_suite(repeats=5)) is None


def test_a_report_holds_no_infinity():
    found = compare(_side([1.0]), _side([2.0]), rules_of(_suite(repeats=5), {}))

    told = as_document(found)

    assert (told["metrics"][0]["shift"]["low"], told["verdict"]) == (None, "unknown")
