"""Tables of results as a person reads them."""

from rich.console import Console

from api.documents.results import GivenAnswerView, MeasuredRunView
from cli.pages.results import answers_table, metrics_table

RUN = {
    "job_id": 7, "attempt_id": 9, "name": "nightly", "project": "p", "kind": "infer", "state": "succeeded",
    "ended_at": None, "host": "lab1", "slots": ["lab1.g0", "lab1.g1"], "cards": [0, 1, 2, 3, 4, 5, 6, 7],
    "model": "qwen", "model_digest": None, "kcore": None, "toolchain": None, "release": "r1", "release_digest": None,
    "prompts": None, "golden": None, "options": {}, "warm": False, "doubt": "canary_failed",
}  # fmt: skip


def shown(table) -> str:
    console = Console(width=200)
    with console.capture() as drawn:
        console.print(table)
    return drawn.get()


def test_every_number_is_a_line_with_its_unit_its_count_and_the_doubt():
    number = {
        "name": "output_throughput",
        "value": 41.25,
        "unit": "tokens/s",
        "definition": "d",
        "n": 6,
        "counter": None,
    }

    page = shown(metrics_table([MeasuredRunView.model_validate({**RUN, "metrics": [number]})]))

    assert "lab1.g0,g1" in page
    assert all(word in page for word in ("output_throughput", "41.25", "tokens/s", "6", "canary_failed"))


def test_an_answer_can_send_nothing_to_the_terminal():
    answer = {
        "repeat": 0, "index": 3, "batch": 0, "slot_id": "lab1.g0", "question": "q", "text": "\x1b[2Jgone",
        "prompt_tokens": None, "output_tokens": None, "seconds": None, "ttft_seconds": None, "finish_reason": None,
        "exact": False,
    }  # fmt: skip

    page = shown(answers_table([GivenAnswerView.model_validate({**RUN, **answer})]))

    assert "\x1b[2J" not in page
    assert "gone" in page
