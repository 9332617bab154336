"""The states of a case, and which of them follow from good and bad runs."""

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError

from orchestrator.model.cases import (
    CASE_TRANSITIONS,
    AcceptOrder,
    CaseRule,
    CaseState,
    after_good,
    after_red,
)

NOW = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def test_every_step_of_a_rule_is_an_arrow_of_the_table():
    for state in CaseState:
        for until in (None, NOW - DAY, NOW + DAY):
            step = after_red(state, until, confirmed=True, now=NOW)
            assert step is None or step[0] in CASE_TRANSITIONS[state]
        here = state
        for there, _ in after_good(state, [3, 4]):
            assert there in CASE_TRANSITIONS[here]
            here = there


def test_a_case_is_verified_only_when_every_series_was_good_often_enough():
    assert after_good(CaseState.CONFIRMED, [0, 5]) == []
    assert after_good(CaseState.CONFIRMED, [1, 5]) == [(CaseState.FIX_SEEN, CaseRule.GOOD_AGAIN)]
    assert after_good(CaseState.FIX_SEEN, [2, 5]) == []
    assert [state for state, _ in after_good(CaseState.FIX_SEEN, [3, 5])] == [CaseState.VERIFIED, CaseState.CLOSED]
    assert [state for state, _ in after_good(CaseState.ACCEPTED, [1])] == [CaseState.FIX_SEEN]


def test_a_known_issue_stays_accepted_until_its_date_and_comes_back_then():
    assert after_red(CaseState.ACCEPTED, NOW + DAY, confirmed=True, now=NOW) is None
    assert after_red(CaseState.ACCEPTED, NOW - DAY, confirmed=True, now=NOW) == (
        CaseState.CONFIRMED, CaseRule.UNTIL_IS_OVER,
    )  # fmt: skip
    assert after_red(CaseState.FIX_SEEN, NOW + DAY, confirmed=True, now=NOW)[0] is CaseState.ACCEPTED
    assert after_red(CaseState.FIX_SEEN, None, confirmed=True, now=NOW)[0] is CaseState.CONFIRMED


def test_only_a_second_measurement_confirms_a_case():
    assert after_red(CaseState.OPENED, None, confirmed=False, now=NOW) is None
    assert after_red(CaseState.OPENED, None, confirmed=True, now=NOW) == (CaseState.CONFIRMED, CaseRule.CONFIRMED)


@pytest.mark.parametrize("link", ["javascript:alert(1)", "ftp://x", "https://a b", "https://x\n", ""])
def test_a_link_is_an_address_of_the_web(link):
    with pytest.raises(ValidationError):
        AcceptOrder.model_validate({"until": NOW.isoformat(), "reason": "r", "link": link})
