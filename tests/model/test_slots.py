"""Cards, card groups and slots, by the vendor's numbering."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.slots import CARDS_PER_HOST, SlotKind, SlotName, group_of_range

GROUPS = [SlotName(SlotKind.CARD_GROUP, index) for index in range(8)]


def test_eight_groups_of_four_cover_every_card_once():
    assert [card for group in GROUPS for card in group.cards] == list(range(CARDS_PER_HOST))


@pytest.mark.parametrize("group", GROUPS, ids=str)
def test_a_group_is_known_by_its_name_and_by_its_cards(group: SlotName):
    assert SlotName.parse(str(group)) == group
    assert group_of_range(group.card_range) == group


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
    "text", ["0..4", "1..4", "4", "0-3", "0..31", "2..31", "28..32", "32..35", "0..3 ", "", "0..3,4..7"]
)
def test_what_is_no_card_group_is_refused(text: str):
    with pytest.raises(ValueError, match="not one of the eight card groups"):
        group_of_range(text)


@given(st.text())
def test_a_slot_name_that_is_accepted_is_written_as_it_was_read(text: str):
    try:
        name = SlotName.parse(text)
    except ValueError:
        return
    assert str(name) == text
