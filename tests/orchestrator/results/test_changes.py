"""A person is told when something changes, not how it is every night."""

import pytest

from orchestrator.model.notifications import News
from orchestrator.model.verdicts import Verdict
from orchestrator.results.changes import change_of

V = Verdict


@pytest.mark.parametrize(
    ("old", "new", "change"),
    [
        (None, V.SAME, None),
        (None, V.WORSE, News.WORSE),
        (None, V.MISSING, News.NOT_JUDGED),
        (V.SAME, V.BETTER, None),
        (V.SAME, V.WORSE, News.WORSE),
        (V.WORSE, V.WORSE, None),
        (V.WORSE, V.SAME, News.RECOVERED),
        (V.WORSE, V.UNKNOWN, News.NOT_JUDGED),
        (V.UNKNOWN, V.INFRASTRUCTURE, None),
        (V.MISSING, V.BETTER, News.RECOVERED),
        (V.NOT_COMPARABLE, V.WORSE, News.WORSE),
        (V.WORSE, V.KNOWN, None),
        (V.KNOWN, V.KNOWN, None),
        (V.KNOWN, V.WORSE, News.WORSE),
        (V.KNOWN, V.SAME, News.RECOVERED),
    ],
)
def test_only_a_change_of_state_is_announced(old, new, change):
    assert change_of(old, new) is change


def test_what_stays_as_it_is_is_never_announced():
    assert [change_of(verdict, verdict) for verdict in Verdict] == [None] * len(Verdict)
