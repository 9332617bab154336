"""A driver with one device node for all cards: the vendor's check alone says which card is used."""

import pytest
from pydantic import ValidationError

from orchestrator.model.profile import ProbeRule
from workers.host.probe import Probe


def a_probe(devices, check):
    environment = {"PATH": f"{devices}:/usr/bin:/bin"}
    rule = {"argv": [check, "{card}"], "environment": environment, "free": "No running processes found"}
    return Probe(ProbeRule(nodes=("{devices}/txnpu",), check=rule), devices=devices, root="")


@pytest.fixture
def devices(tmp_path):
    (tmp_path / "txnpu").touch()
    check = tmp_path / "smi"
    check.write_text('#!/bin/sh\n[ "$1" = 5 ] && echo "| 5 python |" || echo No running processes found\n')
    check.chmod(0o755)
    return tmp_path


def test_a_process_on_one_card_does_not_make_the_others_busy(devices):
    probe = a_probe(devices, "smi")
    with (devices / "txnpu").open():
        free, busy = probe.look([0, 1, 2, 3]), probe.look([4, 5, 6, 7])

    assert free.free
    assert busy.not_free == {5}


def test_without_the_check_no_card_is_proven_free(devices):
    assert "not installed" in a_probe(devices, "absent").look([0]).sentence()


def test_without_the_node_every_card_is_missing(devices):
    (devices / "txnpu").unlink()

    assert a_probe(devices, "smi").look([0]).missing[0][0] == 0


def test_a_profile_in_which_nothing_tells_who_holds_a_card_is_refused():
    with pytest.raises(ValidationError, match="check"):
        ProbeRule(nodes=("{devices}/txnpu",))
