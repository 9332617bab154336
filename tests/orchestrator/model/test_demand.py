"""Demand classes as text, and which slots they admit."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.model.demand import Demand, FreeSlot
from orchestrator.model.lacks import DISK, PORT
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.scheduling.placement.supply import BusySlot, Supply

NAMES = st.sampled_from([f"g{index}" for index in range(8)] + ["cpu0", "cpu1", "cpu17"])
PATTERNS = st.one_of(NAMES, st.builds(lambda host, name: f"{host}.{name}", st.sampled_from(["a", "b-1", "a.b"]), NAMES))
DEMANDS = st.builds(
    Demand,
    st.sampled_from(SlotKind),
    st.just(()),
    st.frozensets(PATTERNS, max_size=4),
    st.frozensets(st.sampled_from(["rack=a", "rack=b", "gen=2", "x2=a.g0"])),
    st.integers(1, 8),
    st.none() | st.integers(0, 30).map(lambda power: 1 << power),
    st.booleans(),
    st.booleans(),
    st.none() | st.sampled_from(["build0307", "a.g3", "x2", "canary", "serve"]),
    st.booleans(),
) | st.builds(Demand, st.sampled_from(SlotKind), st.lists(PATTERNS, unique=True, max_size=8).map(tuple))


def _slot(text: str) -> FreeSlot:
    return FreeSlot(text, SlotName.parse(text.rpartition(".")[2]))


@given(DEMANDS)
def test_a_demand_is_read_back_from_its_key(demand: Demand):
    assert Demand.parse(demand.key()) == demand


@given(DEMANDS, DEMANDS)
def test_two_demands_have_one_key_exactly_when_they_are_equal(one: Demand, other: Demand):
    assert (one.key() == other.key()) == (one == other)


def test_a_host_without_room_takes_no_job_and_one_without_a_port_no_server():
    full, portless = (FreeSlot("lab1.g0", SlotName.parse("g0"), lacks=frozenset({name})) for name in (DISK, PORT))

    assert not Demand.parse("card_group").admits(full)
    assert not Demand.parse("card_group serve").admits(portless)
    assert Demand.parse("card_group").admits(portless)


@pytest.mark.parametrize(("key", "admitted"), [("cpu", True), ("cpu @old", True), ("cpu @new", False)])
def test_a_host_that_lacks_a_release_is_left_to_jobs_of_others(key: str, admitted: bool):
    slot = FreeSlot("lab1.cpu0", SlotName.parse("cpu0"), lacks=frozenset({"new"}))

    assert Demand.parse(key).admits(slot) is admitted


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


def test_a_class_has_room_for_as_many_as_its_slots_are_on_one_host():
    free = [_slot(name) for name in ("a.g0", "a.g1", "a.g2", "b.g3", "b.cpu0")]
    supply = Supply(datetime(2026, 3, 1, tzinfo=UTC), free)
    keys = ("card_group", "card_group x2", "card_group x4", "card_group g0 g2", "card_group g0 g3", "cpu", "cpu cpu1")

    rooms = [supply.room(Demand.parse(key)) for key in keys]

    assert rooms == [4, 1, 0, 1, 0, 1, 0]


def test_a_host_could_hold_what_its_busy_slots_are_enough_for():
    now = datetime(2026, 3, 1, tzinfo=UTC)
    supply = Supply(now, [_slot("a.g0")], [BusySlot(_slot("a.g1"), now), BusySlot(_slot("b.g0"), now)])

    held = [supply.could_hold(Demand.parse(key)) for key in ("card_group x2", "card_group x3", "card_group g0 g1")]

    assert held == [True, False, True]


@given(st.integers(1, 10**9))
def test_run_limits_of_a_class_differ_by_less_than_the_double(seconds):
    limit = Demand(SlotKind.CPU).within(seconds).limit

    assert limit // 2 < seconds <= limit
