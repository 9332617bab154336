"""The cause of a case, as a list shows it."""

from datetime import UTC, datetime

import pytest
from rich.console import Console

from api.documents.cases import CaseView
from cli.pages.cases import cases_table

TOOLS = {"toolchain": {"before": ["1"], "after": ["2"]}}


@pytest.mark.parametrize(
    ("outcome", "change", "told"),
    [
        ("card", {"slots": {"before": [], "after": ["lab1.g0"]}}, "card: lab1.g0"),
        ("model_or_toolchain", TOOLS, "model or toolchain: toolchain 1 → 2"),
        ("worse", {}, "worse: no known change"),
    ],
)
def test_a_bad_card_group_is_named_and_of_a_build_what_changed(outcome, change, told):
    case = CaseView(
        id=1, state="confirmed", outcome=outcome, suite="nightly", change=change, last_good_run=1, first_bad_run=2,
        opened_at=datetime(2026, 12, 1, tzinfo=UTC), until=None, link=None, closed_at=None,
    )  # fmt: skip
    console = Console(width=200)

    with console.capture() as captured:
        console.print(cases_table([case]))

    assert told in captured.get()
