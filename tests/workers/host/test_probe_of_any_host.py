"""Hosts with more or fewer cards, and with nodes of other names and numbers, than the one of the guide."""

import os

import pytest

from orchestrator.model.profile import ProbeRule
from workers.host.probe import Probe


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("{devices}/dev-{card}", {"dev-3": 3, "dev-40": 40}),
        ("{devices}/card{card}/node", {"card8/node": 8}),
        ("{devices}/*/tsm{card}_{card}", {"a/tsm7_7": 7}),
    ],
)
def test_a_tool_is_seen_on_every_card_that_the_host_has_a_node_of(tmp_path, pattern, names):
    devices = tmp_path / "dev[1]"
    for name in (*names, "dev-x", "dev-3.bak", "a/tsm7_8", "card8/nodes"):
        (devices / name).parent.mkdir(parents=True, exist_ok=True)
        (devices / name).touch()
    probe = Probe(ProbeRule(nodes=(pattern,)), devices=devices, root="")
    opened = [(devices / name).open() for name in names]

    seen = probe.opened_by([os.getpid()])
    for each in opened:
        each.close()

    assert seen.all == set(names.values())
    assert probe.nodes() == {devices / name: card for name, card in names.items()}
