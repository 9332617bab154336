"""Baselines that are computed from earlier runs."""

from orchestrator.results.baselines import JudgedRun, median_of_good, previous_good
from orchestrator.results.sides import AnswerOf, Side
from orchestrator.results.verdicts import Verdict


def _run(number: int, verdict: Verdict, *values: float, definition: str = "d", text: str = "4") -> JudgedRun:
    side = Side(
        f"run {number}",
        settings=({"run": number},) if values else (),
        samples={"ttft": values},
        definitions={"ttft": ("s", definition)},
        answers=(AnswerOf("2+2", 0, text, None),),
    )
    return JudgedRun(number, side, verdict)


def test_the_previous_good_run_is_the_latest_that_was_not_worse_and_measured_something():
    runs = [
        _run(1, Verdict.SAME, 1.0),
        _run(2, Verdict.BETTER, 0.9),
        _run(3, Verdict.WORSE, 2.0),
        _run(4, Verdict.SAME),
    ]

    assert previous_good(runs).label == "run 2"
    assert previous_good(runs[2:]) is None


def test_the_last_k_good_runs_are_one_side_with_the_answers_of_the_latest():
    runs = [
        _run(number, verdict, float(number), text=str(number))
        for number, verdict in enumerate([Verdict.SAME, Verdict.SAME, Verdict.WORSE, Verdict.BETTER], start=1)
    ]

    side = median_of_good(runs, 2)

    assert (side.samples, side.answers[0].text) == ({"ttft": (2.0, 4.0)}, "4")
    assert [setting["run"] for setting in side.settings] == [2, 4]
    assert median_of_good(runs, 4) is None


def test_a_run_that_measured_by_another_definition_is_left_out_of_that_metric():
    runs = [_run(1, Verdict.SAME, 1.0, definition="old"), _run(2, Verdict.SAME, 2.0)]

    assert median_of_good(runs, 2).samples == {"ttft": (2.0,)}
