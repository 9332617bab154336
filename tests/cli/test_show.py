import io

import pytest
from rich.console import Console

from api.schemas import JobView
from cli.show import clean, reason, row, size, table
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import JobState


def drawn(*cells: object) -> str:
    shown = table("a", "b")
    row(shown, *cells)
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
    ("state", "told"), [(JobState.SKIPPED, "it needs job 3"), (JobState.CANCELLED, "cancelled: it needs job 3")]
)
def test_a_skipped_job_is_not_called_cancelled(state, told):
    failure = Failure(kind=FailureKind.CANCELLED, reason="it needs job 3")

    assert reason(JobView.model_construct(state=state, failure=failure)) == told
