"""The kernel reports at once which card's node was opened, by whatever path."""

import pytest

from workers.host.open_events import OpenEvents


@pytest.fixture
def nodes(tmp_path):
    for card in (4, 5):
        (tmp_path / f"dev-{card}").touch()
    return {tmp_path / f"dev-{card}": card for card in (4, 5)}


@pytest.fixture
def events(nodes):
    made = OpenEvents(nodes)
    yield made
    made.close()


def test_an_open_is_reported_with_its_card_even_if_it_is_over(events, nodes, tmp_path):
    (tmp_path / "another name").hardlink_to(tmp_path / "dev-5")
    (tmp_path / "another name").read_text()

    assert events.wait(10) == {5}


def test_who_waits_can_be_woken_and_then_knows_of_no_card(events):
    events.wake()

    assert events.wait(10) == frozenset()
