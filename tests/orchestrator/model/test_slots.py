"""Cards, card groups and slots, by the vendor's numbering."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.slots import CARDS_PER_HOST, SlotName, all_groups, cards_of_groups, groups_of_cards, together

GROUPS = all_groups()


def test_eight_groups_of_four_cover_every_card_once():
    assert [card for group in GROUPS for card in group.cards] == list(range(CARDS_PER_HOST))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_group_is_known_by_its_name_and_by_its_cards(group: SlotName):
    assert SlotName.parse(str(group)) == group
    assert groups_of_cards(group.card_range) == (group,)


def test_several_groups_are_named_in_any_order_and_listed_ascending():
    groups = groups_of_cards("16..19,0..3,8..11")

    assert [str(group) for group in groups] == ["g0", "g2", "g4"]
    assert cards_of_groups(groups) == "0..3,8..11,16..19"


@pytest.mark.parametrize("cards", ["0..31", ",".join(group.card_range for group in GROUPS)])
def test_all_cards_are_all_eight_groups(cards: str):
    assert groups_of_cards(cards) == GROUPS


def test_the_single_card_takes_its_whole_group():
    assert groups_of_cards("0") == GROUPS[:1]


NO_SLOTS = [
    "g8",
    "g-1",
    "g01",
    "g",
    "",
    "G0",
    "g0 ",
    "g0\n",
    " g0",
    "cpu",
    "cpu01",
    "cpu1000",
    "gpu0",
    "g0..3",
    "cpu１",
]


@pytest.mark.parametrize(
    "text",
    [
        *NO_SLOTS,
        "cpu1٣",
    ],
)
def test_what_is_no_slot_is_refused(text: str):
    with pytest.raises(ValueError, match="is not a"):
        SlotName.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "0..4",
        "1..4",
        "4",
        "0-3",
        "2..31",
        "28..32",
        "32..35",
        "0..3 ",
        "",
        "0..3,",
        "0..3,0..3",
        "0..3,0",
        "0..7",
        "0,1,2",
        "0,1,2,3,0..3",
        "1,2,3,4",
        "0..31,0..3",
        "0..3, 4..7",
    ],
)
def test_what_names_no_whole_card_groups_is_refused_with_the_legal_forms(text: str):
    with pytest.raises(ValueError, match=r"use one of 0\.\.3, .* \(0\.\.3,8\.\.11\), 0\.\.31 .* single card 0"):
        groups_of_cards(text)


@given(st.text())
def test_a_slot_name_that_is_accepted_is_written_as_it_was_read(text: str):
    try:
        name = SlotName.parse(text)
    except ValueError:
        return
    assert str(name) == text


def test_slots_of_one_host_are_told_with_their_host_named_once():
    assert together(["lab1.g0"]) == "lab1.g0"
    assert together(["rack.lab1.g0", "rack.lab1.g2"]) == "rack.lab1.g0,g2"


@pytest.mark.parametrize(
    ("text", "groups"),
    [("0,1,2,3", ["g0"]), ("8,9,10,11,0..3", ["g0", "g2"]), ("7,6,5,4", ["g1"])],
)
def test_a_group_may_be_spelled_out_card_by_card(text: str, groups: list[str]):
    assert [str(group) for group in groups_of_cards(text)] == groups
