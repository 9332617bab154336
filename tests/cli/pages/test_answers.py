"""Answers beside their golden ones, and the last lines of a run."""

import io

from rich.console import Console, Group

from api.documents.answers import AnswerView
from api.documents.jobs import JobDetail, MetricView
from cli.pages.answers import answer_differences
from cli.pages.runs import run_summary
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import JobState


def answer(text: str, golden: str | None, **more: object) -> AnswerView:
    told = {"repeat": 1, "index": 3, "slot_id": "lab1.g5", "question": "你是谁？", **more}
    return AnswerView.model_construct(
        attempt_id=1, batch=0, text=text, golden=golden, exact=None if golden is None else text == golden, **told
    )


def printed(*answers: AnswerView) -> str:
    console = Console(file=io.StringIO(), width=100, color_system=None)
    console.print(Group(*answer_differences(answers)))
    return console.file.getvalue()


def test_only_answers_that_differ_from_their_golden_ones_are_shown_with_the_lines_that_differ():
    shown = printed(answer("a\nb\nc", "a\nx\nc"), answer("same", "same", index=4), answer("unknown", None, index=5))

    assert "question 3 on lab1.g5: 你是谁？" in shown
    assert "first differing character 2" in shown
    assert "\n-x\n+b\n" in shown
    assert "question 4" not in shown
    assert "question 5" not in shown


def test_a_difference_that_a_line_does_not_show_is_shown_as_characters():
    shown = printed(answer("我是\u200b谁", "我是谁"))

    assert "first differing character 2: golden '我是谁', answer '我是\\u200b谁'" in shown


def test_an_answer_of_many_lines_is_cut_and_says_so():
    shown = printed(answer("\n".join(map(str, range(50_000))), "nothing"))

    assert shown.count("\n") < 60
    assert "more lines differ than 40" in shown


def test_an_answer_cannot_steer_the_terminal():
    assert "\x1b" not in printed(answer("\x1b[2J", "\x1b[3J", question="\x1b]0;owned\x07"))


def job(number: int, kind: str, state: JobState, **more: object) -> JobDetail:
    known = {"last_slot_ids": (), "cached_from": None, "failure": None, "metrics": (), "answers": 0, "name": kind}
    return JobDetail.model_construct(id=number, kind=kind, state=state, **{**known, **more})


def test_the_summary_of_a_run_names_its_pipeline_its_jobs_and_what_it_measured():
    exact = MetricView(
        attempt_id=1, name="exact_answers", value=2.0, unit="answers", definition="d", count=3, counter=None
    )
    wrong = Failure(kind=FailureKind.WRONG_ANSWERS, reason="1 of 3 answers are not the golden answers")
    jobs = [
        job(4, "convert", JobState.SUCCEEDED, cached_from=1),
        job(5, "infer", JobState.FAILED, last_slot_ids=("lab1.g0",), failure=wrong, metrics=(exact,), answers=3),
    ]

    assert str(run_summary(2, jobs)).splitlines() == [
        "pipeline 2 failed: job 4 convert from cache (job 1), job 5 infer on lab1.g0",
        "2 of 3 answers equal the golden answers",
        "job 5 infer failed: wrong answers: 1 of 3 answers are not the golden answers",
        "see: tx81 logs 5, tx81 answers 5",
    ]


def test_the_summary_of_a_run_that_did_not_get_to_its_inference_names_what_failed():
    failed = Failure(kind=FailureKind.TOOL, reason="exit 1")
    jobs = [job(4, "convert", JobState.FAILED, failure=failed), job(5, "infer", JobState.SKIPPED)]

    assert str(run_summary(2, jobs)).splitlines() == [
        "pipeline 2 failed: job 4 convert, job 5 infer",
        "job 4 convert failed: tool: exit 1",
        "see: tx81 logs 4",
    ]
