import pytest

from orchestrator.model.orders import Action, ordered_by, standing_order

CANCEL = {"by": "alice", "why": "wrong model", "at": "2026-03-01T12:00:00+00:00"}
STOP = {"by": "bob", "why": "enough", "at": "2026-03-01T12:00:00+00:00"}


@pytest.mark.parametrize(
    ("by", "why", "line"),
    [
        ("alice", "wrong model", "cancelled by alice: wrong model"),
        ("alice", None, "cancelled by alice"),
        (None, "batch 5 was stopped", "cancelled: batch 5 was stopped"),
        (None, None, "cancelled"),
    ],
)
def test_the_line_names_who_and_why_where_they_are_known(by, why, line):
    assert ordered_by("cancelled", by, why) == line


@pytest.mark.parametrize(
    ("cancel", "stop", "by", "why"),
    [
        (CANCEL, None, "alice", "wrong model"),
        (CANCEL, STOP, "alice", "wrong model"),
        (None, STOP, "bob", "it ended while it was being stopped: enough"),
        (None, {**STOP, "why": None}, "bob", "it ended while it was being stopped"),
    ],
)
def test_a_cancel_counts_before_a_stop_and_a_stop_that_came_too_late_says_so(cancel, stop, by, why):
    order = standing_order(cancel, stop)

    assert order is not None
    assert (order["by"], order["why"]) == (by, why)


def test_without_an_order_nothing_is_cancelled():
    assert standing_order(None, None) is None


def test_release_is_understood_as_unhold():
    assert Action("release") is Action.UNHOLD
