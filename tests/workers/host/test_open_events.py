"""The kernel reports at once which card's node was opened, by whatever path."""

import pytest

from orchestrator.model.profile import ProbeRule
from workers.host.open_events import KeptEvents, OpenEvents
from workers.host.probe import Probe


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


@pytest.fixture
def kept():
    made = KeptEvents()
    yield made
    made.close()


def test_reports_that_are_kept_for_the_next_attempt_begin_with_it(kept, nodes, tmp_path):
    probe = Probe(ProbeRule(), devices=tmp_path, root="")
    first = kept.take(probe)
    (tmp_path / "dev-4").read_text()
    first.wake()
    kept.give_back(first)

    second = kept.take(probe)
    (tmp_path / "dev-5").read_text()

    assert second is first
    assert second.wait(10) == {5}
    kept.give_back(second)


def test_a_node_that_was_made_anew_is_watched_by_the_next_attempt(kept, nodes, tmp_path):
    probe = Probe(ProbeRule(), devices=tmp_path, root="")
    kept.give_back(kept.take(probe))
    (tmp_path / "dev-4").unlink()
    (tmp_path / "dev-4").touch()

    events = kept.take(probe)
    (tmp_path / "dev-4").read_text()

    assert 4 in events.wait(10)
    kept.give_back(events)


def test_attempts_with_another_probe_are_told_of_other_nodes(kept, nodes, tmp_path):
    (tmp_path / "other-7").touch()
    kept.give_back(kept.take(Probe(ProbeRule(), devices=tmp_path, root="")))

    events = kept.take(Probe(ProbeRule(nodes=("{devices}/other-{card}",)), devices=tmp_path, root=""))
    (tmp_path / "other-7").read_text()

    assert events.wait(10) == {7}
    kept.give_back(events)
