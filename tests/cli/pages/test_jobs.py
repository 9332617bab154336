import io
from datetime import UTC, datetime

import pytest
from rich.console import Console
from rich.table import Table

from api.documents.answers import AnswerView
from api.documents.jobs import JobDetail, JobView, MetricView
from cli.pages.jobs import _source, answers_table, jobs_table, measured, reason
from cli.pages.layout import clean, row, size, table
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import JobState

A_MOMENT = datetime(2026, 1, 1, tzinfo=UTC)


def drawn(*cells: object) -> str:
    shown = table("a", "b")
    row(shown, *cells)
    return printed(shown)


def printed(shown: Table) -> str:
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    console.print(shown)
    return console.file.getvalue()


@pytest.mark.parametrize("hostile", ["\x1b[2J", "\x07", "\x1b]0;owned\x07", "\u202e", "\r"])
def test_no_text_from_outside_can_steer_the_terminal(hostile):
    assert hostile not in drawn("name", f"before{hostile}after")


def test_text_that_looks_like_markup_is_shown_as_it_is():
    assert "[bold]x[/bold]" in drawn("name", "[bold]x[/bold]")


def test_chinese_text_and_line_breaks_stay():
    assert clean("你是谁？\n我是") == "你是谁？\n我是"


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2 * 1024**5, "2048.0 TiB")]
)
def test_sizes_are_told_in_the_unit_that_fits(count, told):
    assert size(count) == told


@pytest.mark.parametrize(
    ("state", "why"), [(JobState.SKIPPED, "it needs job 3"), (JobState.CANCELLED, "cancelled by alice: wrong model")]
)
def test_why_a_job_was_skipped_or_cancelled_is_told_as_it_was_kept(state, why):
    failure = Failure(kind=FailureKind.CANCELLED, reason=why)

    assert reason(JobView.model_construct(state=state, failure=failure)) == why


@pytest.mark.parametrize(("order", "done"), [("cancel", "cancelled"), ("stop", "stopped")])
def test_a_running_job_that_is_to_end_shows_who_ordered_it_and_why(order, done):
    asked = {"by": "alice", "why": "wrong model", "at": A_MOMENT.isoformat()}
    orders = {"cancel": None, "stop": None, order: asked}
    job = JobView.model_construct(
        state=JobState.RUNNING, failure=None, cached_from=None, joined_to=None, hold=None, **orders
    )

    assert reason(job) == f"being {done} by alice: wrong model"


def answer(batch: int, text: str, index: int = 0) -> AnswerView:
    return AnswerView(
        attempt_id=1, repeat=1, index=index, batch=batch, slot_id=f"lab1.g{batch}", question="1 + 1?", text=text,
        prompt_tokens=None, output_tokens=None, seconds=None, ttft_seconds=None, finish_reason=None, golden=None,
        exact=None,
    )  # fmt: skip


def metric(name: str, value: float | None) -> MetricView:
    return MetricView(attempt_id=1, name=name, value=value, unit="u", definition="d", count=24, counter=None)


def test_the_page_of_a_job_shows_its_throughput_and_its_latency():
    numbers = {
        "output_throughput": 812.34,
        "request_seconds_p50": 0.0123,
        "request_seconds_max": 1.5,
        "ttft_seconds_p50": None,
    }
    job = JobDetail.model_construct(metrics=tuple(metric(name, value) for name, value in numbers.items()))

    assert measured(job) == {"tokens/s": "812.3", "latency": "p50 0.0123 s, max 1.5 s"}


def test_the_page_of_a_job_counts_its_exact_answers_and_shows_its_rule():
    job = JobDetail.model_construct(metrics=(metric("exact_answers", 22.0),))

    assert measured(job) == {"exact": "22 of 24 answers equal the golden answers"}
    assert measured(JobDetail.model_construct(metrics=())) == {}
    assert _source({"similarity": 0.98}) == "similarity 0.98"


def test_of_several_groups_the_odd_one_out_is_seen_at_a_glance():
    lines = printed(answers_table([answer(0, "2"), answer(1, "3"), answer(2, "2")])).splitlines()

    assert [line.split()[1] for line in lines if "DIFFERS" in line] == ["lab1.g1"]


def test_where_no_answer_has_the_most_all_of_them_differ():
    agreed = [answer(batch, "4", index=1) for batch in (0, 1)]

    shown = printed(answers_table([answer(0, "2"), answer(1, "3"), *agreed]))

    assert shown.count("DIFFERS") == 2


def test_answers_of_one_group_are_shown_without_it():
    shown = printed(answers_table([answer(0, "2"), answer(0, "4", index=1)]))

    assert "slot" not in shown
    assert "lab1.g0" not in shown


def test_a_job_on_several_groups_names_them_all():
    job = JobView.model_construct(
        id=1, name="n", kind="infer", model="m", state=JobState.RUNNING, failure=None, created_at=A_MOMENT,
        queued_at=A_MOMENT, started_at=A_MOMENT, ended_at=A_MOMENT, cached_from=None, joined_to=None,
        last_slot_ids=("lab1.g0", "lab1.g2"), held=False, hold=None, cancel_requested=False, cancel=None,
        stop=None,
    )  # fmt: skip

    assert "lab1.g0,g2" in printed(jobs_table([job]))
