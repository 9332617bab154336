"""The truth table of a triage: which outcomes of the small cross blame what."""

import itertools

import pytest

from orchestrator.results.triage import Cause, CrossOutcome, decide, of_repeats

RIGHT, WRONG, FAULTED = CrossOutcome.RIGHT, CrossOutcome.WRONG, CrossOutcome.FAULTED
MIXED, UNFINISHED, ABSENT = CrossOutcome.MIXED, CrossOutcome.UNFINISHED, CrossOutcome.ABSENT


@pytest.mark.parametrize(
    ("observed", "elsewhere", "here", "cause"),
    [
        # the same kernel image elsewhere, the last good one here
        (WRONG, RIGHT, WRONG, Cause.CARD),
        (WRONG, RIGHT, FAULTED, Cause.CARD),
        (WRONG, RIGHT, MIXED, Cause.CARD),
        (WRONG, WRONG, RIGHT, Cause.TOOLCHAIN),
        (WRONG, WRONG, WRONG, Cause.MODEL),
        (WRONG, RIGHT, RIGHT, Cause.CANNOT_TELL),
        (WRONG, WRONG, FAULTED, Cause.CANNOT_TELL),
        (WRONG, WRONG, MIXED, Cause.CANNOT_TELL),
        (WRONG, MIXED, RIGHT, Cause.CANNOT_TELL),
        # a fault elsewhere says nothing about wrong answers here
        (WRONG, FAULTED, WRONG, Cause.CARD),
        (WRONG, FAULTED, RIGHT, Cause.TOOLCHAIN),
        (WRONG, FAULTED, ABSENT, Cause.CANNOT_TELL),
        # but about faults here it does
        (FAULTED, FAULTED, RIGHT, Cause.TOOLCHAIN),
        (FAULTED, FAULTED, FAULTED, Cause.CANNOT_TELL),
        (FAULTED, RIGHT, FAULTED, Cause.CARD),
        (FAULTED, RIGHT, RIGHT, Cause.CANNOT_TELL),
        # half of the cross
        (WRONG, RIGHT, ABSENT, Cause.CARD),
        (WRONG, WRONG, ABSENT, Cause.CANNOT_TELL),
        (WRONG, ABSENT, WRONG, Cause.CARD),
        (WRONG, ABSENT, RIGHT, Cause.TOOLCHAIN),
        (WRONG, UNFINISHED, UNFINISHED, Cause.CANNOT_TELL),
    ],
)
def test_the_cross_blames(observed, elsewhere, here, cause):
    assert decide(observed, elsewhere, here).cause is cause


@pytest.mark.parametrize("here", [ABSENT, UNFINISHED, WRONG, FAULTED, MIXED])
def test_answers_that_are_right_elsewhere_leave_the_card_under_suspicion(here):
    decision = decide(WRONG, WRONG, here, healed=3)

    assert decision.cause is Cause.CANNOT_TELL
    assert "3 prompts" in decision.why
    assert "may be" in decision.why


def test_a_card_group_on_which_the_good_kernel_image_is_right_is_not_suspected_by_some_answers():
    assert decide(WRONG, WRONG, RIGHT, healed=3).cause is Cause.TOOLCHAIN


def test_every_combination_has_a_verdict_with_a_sentence():
    for cells in itertools.product(CrossOutcome, repeat=3):
        decision = decide(*cells)
        assert len(decision.why) > 20


def test_without_a_run_on_this_card_group_or_elsewhere_nothing_is_blamed():
    for observed, nothing in itertools.product(CrossOutcome, (ABSENT, UNFINISHED)):
        assert decide(observed, nothing, nothing).cause is Cause.CANNOT_TELL


@pytest.mark.parametrize(
    ("repeats", "outcome"),
    [
        ([], ABSENT),
        ([RIGHT, RIGHT], RIGHT),
        ([RIGHT, WRONG], MIXED),
        ([RIGHT, FAULTED], MIXED),
        ([WRONG, FAULTED], WRONG),
        ([FAULTED, FAULTED], FAULTED),
        ([RIGHT, UNFINISHED], RIGHT),
        ([UNFINISHED, UNFINISHED], UNFINISHED),
    ],
)
def test_repeats_have_one_outcome(repeats, outcome):
    assert of_repeats(repeats) is outcome
