"""Card lists as tools print them."""

import pytest

from workers.attempt.own_cards import cards_in


@pytest.mark.parametrize("text", ["8..11", "8-11", "8,9,10,11", "8..9, 10..11"])
def test_a_card_list_is_read_in_every_spelling(text):
    assert cards_in(text) == {8, 9, 10, 11}


@pytest.mark.parametrize("text", ["", "..", "8..", "a", "0..99999999", "1.5"])
def test_what_is_no_card_list_names_no_card(text):
    assert cards_in(text) == frozenset()
