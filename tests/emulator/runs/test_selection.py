"""`-cn` and `-bs` as the guide spells them."""

import pytest

from emulator.runs.selection import batch_sizes, card_groups, groups_for
from emulator.tool import Refused

FIRST, SECOND, THIRD = [0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10, 11]


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        ("0", [[0]]),
        ("0,1,2,3", [FIRST]),
        ("4..7", [SECOND]),
        ("8..11,0..3", [THIRD, FIRST]),
        ("0..11", [FIRST, SECOND, THIRD]),
        ("28..31", [[28, 29, 30, 31]]),
    ],
)
def test_legal_card_lists(text, groups):
    assert card_groups(text) == groups


@pytest.mark.parametrize(
    "text", ["", "1", "0,1", "2..31", "3..0", "0..3,2..5", "0..3,", "a", "0...3", "-1", "32", "٣", "0 ..3"]
)
def test_illegal_card_lists(text):
    with pytest.raises(Refused, match="-cn"):
        card_groups(text)


def test_batch_sizes_are_a_number_or_a_list():
    assert (batch_sizes("8"), batch_sizes("[1,5, 6]")) == ([8], [1, 5, 6])


@pytest.mark.parametrize("text", ["", "0", "9", "[]", "[1", "1.5", "[1,,2]", "٣"])
def test_illegal_batch_sizes(text):
    with pytest.raises(Refused, match="-bs"):
        batch_sizes(text)


def test_listed_groups_come_first_then_the_lowest_others():
    assert groups_for(2, [THIRD]) == [THIRD, FIRST]
    assert groups_for(1, [THIRD, SECOND]) == [THIRD]
    assert len(groups_for(8, [[0]])) == 8


def test_groups_that_are_listed_in_full_are_taken_as_listed_and_so_is_the_single_card():
    assert groups_for(2, [FIRST, THIRD]) == [FIRST, THIRD]
    assert groups_for(1, [[0]]) == [[0]]
