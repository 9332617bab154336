"""Which slot answers unlike the others."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.results.majority import OddSlot, SlotAnswers, agreement, disagreement

SLOTS = [f"lab1.g{index}" for index in range(8)]


def test_one_slot_with_answers_of_its_own_is_odd_with_the_first_of_them():
    runs = [SlotAnswers(slot, {0: "a", 1: "b", 2: "c"}) for slot in SLOTS[:7]] + [
        SlotAnswers(SLOTS[7], {0: "a", 1: "x", 2: "y"})
    ]

    found = agreement(runs)

    assert found.odd == (OddSlot("lab1.g7", 2, 1),)
    assert (found.prompts, found.undecided, found.unsteady) == (3, 0, ())


def test_a_slot_that_ran_often_does_not_outvote_the_others():
    runs = [
        SlotAnswers("g0", {0: "wrong"}, times=100),
        SlotAnswers("g1", {0: "right"}),
        SlotAnswers("g2", {0: "right"}),
    ]

    assert agreement(runs).odd == (OddSlot("g0", 1, 0),)


def test_of_two_that_disagree_nobody_is_blamed():
    found = agreement([SlotAnswers("g0", {0: "a"}), SlotAnswers("g1", {0: "b"})])

    assert (found.odd, found.undecided) == ((), 1)


def test_a_slot_that_answers_now_so_now_so_is_unsteady_and_odd():
    runs = [
        SlotAnswers("g0", {0: "a"}, times=9),
        SlotAnswers("g0", {0: "b"}),
        SlotAnswers("g1", {0: "a"}),
        SlotAnswers("g2", {0: "a"}),
    ]

    found = agreement(runs)

    assert found.unsteady == ("g0",)
    assert found.odd == (OddSlot("g0", 1, 0),)


def test_nothing_answered_is_nothing_to_tell():
    assert agreement([]).prompts == 0


def test_required_agreement_is_neither_a_minority_nor_a_tie_nor_a_slot_alone():
    same, other = {0: "a", 1: "b"}, {0: "a", 1: "c"}
    runs = [SlotAnswers("g0", same), SlotAnswers("g1", same), SlotAnswers("g2", other)]

    assert disagreement(agreement(runs[:2])) is None
    assert disagreement(agreement(runs)) == "g2 differs from the majority on 1 of 2 prompts"
    assert disagreement(agreement(runs[1:])) == "1 prompts without a majority answer"
    assert disagreement(agreement(runs[:1])) == "answers of 1 slots: nothing to compare"
    assert disagreement(agreement([])) == "answers of 0 slots: nothing to compare"
    assert (agreement(runs).distinct, agreement(runs[:2]).distinct, agreement(runs).slots) == (2, 1, 3)


@given(st.lists(st.sampled_from("ab"), min_size=3, max_size=8))
def test_the_odd_ones_are_exactly_the_minority(votes):
    found = agreement([SlotAnswers(slot, {0: vote}) for slot, vote in zip(SLOTS, votes, strict=False)])

    usual = max("ab", key=votes.count)
    minority = [slot for slot, vote in zip(SLOTS, votes, strict=False) if vote != usual]
    if votes.count("a") == votes.count("b"):
        assert (found.odd, found.undecided) == ((), 1)
    else:
        assert [odd.slot_id for odd in found.odd] == minority
