"""Patterns in bounded time."""

import logging

import pytest

from workers.processes import matching
from workers.processes.matching import Found, search


@pytest.mark.parametrize("cheap", [0, 1e9], ids=["apart", "here"])
def test_the_first_match_is_found_with_its_groups(monkeypatch, cheap):
    monkeypatch.setattr(matching, "CHEAP", cheap)

    assert search(r"card (?P<card>\d+)(?P<more>x)?", "模\ncard 12, card 3") == Found(2, {"card": "12", "more": None})
    assert search("none", "of it\ud800") is None


def test_a_pattern_that_tries_for_ever_is_not_found_and_told(caplog):
    with caplog.at_level(logging.WARNING):
        assert search("(a+)+b", "a" * 60, seconds=1) is None

    assert "counts as not found" in caplog.text
