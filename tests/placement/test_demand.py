"""Demand classes as text, and which slots they admit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.placement.demand import Demand, FreeSlot, classes_with_a_slot

NAMES = st.sampled_from([f"g{index}" for index in range(8)] + ["cpu0", "cpu1", "cpu17"])
PATTERNS = st.one_of(NAMES, st.builds(lambda host, name: f"{host}.{name}", st.sampled_from(["a", "b-1", "a.b"]), NAMES))
DEMANDS = st.builds(
    Demand,
    st.sampled_from(SlotKind),
    st.none() | PATTERNS,
    st.frozensets(PATTERNS, max_size=4),
    st.frozensets(st.sampled_from(["rack=a", "rack=b", "gen=2"])),
)


def _slot(text: str) -> FreeSlot:
    return FreeSlot(text, SlotName.parse(text.rpartition(".")[2]))


@given(DEMANDS)
def test_a_demand_is_read_back_from_its_key(demand: Demand):
    assert Demand.parse(demand.key()) == demand


@given(DEMANDS, DEMANDS)
def test_two_demands_have_one_key_exactly_when_they_are_equal(one: Demand, other: Demand):
    assert (one.key() == other.key()) == (one == other)


@pytest.mark.parametrize(
    ("key", "slot", "admitted"),
    [
        ("card_group", "lab1.g0", True),
        ("card_group", "lab1.cpu0", False),
        ("card_group g3", "lab2.g3", True),
        ("card_group lab1.g3", "lab2.g3", False),
        ("card_group lab1.g3", "lab1.g3", True),
        ("card_group !g3", "lab1.g3", False),
        ("card_group !lab1.g3", "lab2.g3", True),
        ("card_group g3 !lab1.g3", "lab1.g3", False),
        ("cpu cpu1", "lab1.cpu17", False),
        ("card_group cpu0", "lab1.cpu0", False),
    ],
)
def test_a_demand_admits_slots_by_sort_pin_and_exclusion(key: str, slot: str, admitted: bool):
    assert Demand.parse(key).admits(_slot(slot)) is admitted


@pytest.mark.parametrize(
    ("key", "admitted"),
    [("cpu rack=a", True), ("cpu gen=2 rack=a", True), ("cpu rack=b", False), ("cpu gen=3 rack=a", False)],
)
def test_a_demand_admits_slots_of_hosts_with_all_of_its_labels(key: str, admitted: bool):
    slot = FreeSlot("lab1.cpu0", SlotName.parse("cpu0"), frozenset({"rack=a", "gen=2"}))

    assert Demand.parse(key).admits(slot) is admitted


def test_classes_that_no_free_slot_fits_are_left_out():
    keys = ["card_group", "card_group g1", "cpu", "card_group !g0"]

    assert classes_with_a_slot(keys, [_slot("lab1.g0")]) == ["card_group"]
    assert classes_with_a_slot(keys, []) == []
