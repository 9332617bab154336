"""What a job waits for, held against what placing does with the same snapshot."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.model.states import JobState, ServiceState
from orchestrator.placement.demand import Demand, FreeSlot
from orchestrator.placement.explain import (
    Holder,
    Need,
    Snapshot,
    Standing,
    Subject,
    WaitsFor,
    earliest_start,
    explain,
)
from orchestrator.placement.order import Share
from orchestrator.placement.place import Candidate

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
NAMES = ["g0", "g1", "cpu0"]
IDS = [f"{host}.{name}" for host in ("a", "b") for name in NAMES]
LABELS = st.frozensets(st.sampled_from(["rack=a", "rack=b"]), max_size=1)
PATTERNS = st.sampled_from(NAMES + IDS)
DEMANDS = st.builds(
    Demand, st.sampled_from(SlotKind), st.none() | PATTERNS, st.frozensets(PATTERNS, max_size=2), LABELS
)
CANDIDATES = st.builds(
    Candidate, st.integers(1, 99), DEMANDS, st.integers(0, 9), st.frozensets(st.sampled_from(IDS), max_size=1),
    rank=st.sampled_from([0, 0, -1, -2]), project=st.sampled_from("xyz"), kcore=st.sampled_from([None, "k1", "k2"]),
)  # fmt: skip


@st.composite
def _standings(draw: st.DrawFn) -> list[Standing]:
    found = []
    for slot_id in draw(st.lists(st.sampled_from(IDS), unique=True)):
        name = SlotName.parse(slot_id.rpartition(".")[2])
        slot = FreeSlot(slot_id, name, draw(LABELS), draw(st.sampled_from([None, "k1"])))
        holder = draw(st.sampled_from([None, None, Holder(1000)]))
        service = draw(st.sampled_from([ServiceState.IN_SERVICE, *ServiceState]))
        found.append(Standing(slot, draw(st.booleans()), service, holder))
    return found


SNAPSHOTS = st.builds(
    Snapshot, st.just(NOW), _standings(), st.lists(CANDIDATES, max_size=10, unique_by=lambda job: job.job_id),
    st.dictionaries(st.sampled_from("xyz"), st.builds(Share, st.floats(0, 500), st.floats(0.5, 3))),
)  # fmt: skip


def _subject(mine: Candidate, seen: Snapshot) -> Subject:
    ahead = [
        other.job_id
        for other in seen.candidates
        if other.demand == mine.demand
        and (
            (-other.priority, other.rank) < (-mine.priority, mine.rank)
            or (
                (other.project, other.priority, other.rank) == (mine.project, mine.priority, mine.rank)
                and other.job_id < mine.job_id
            )
        )
    ]
    return Subject(mine, JobState.QUEUED, ahead=len(ahead), next_job=min(ahead, default=None), seconds=10)


def _queued(key: str = "card_group", number: int = 1, project: str = "x", priority: int = 5) -> Candidate:
    return Candidate(number, Demand.parse(key), priority, project=project)


def _slot(slot_id: str, **facts) -> Standing:
    return Standing(FreeSlot(slot_id, SlotName.parse(slot_id.rpartition(".")[2])), **facts)


def _kinds(mine: Candidate, *slots: Standing, others: tuple[Candidate, ...] = (), **facts) -> list[WaitsFor]:
    seen = Snapshot(NOW, slots, (mine, *others), **facts)
    return [reason.kind for reason in explain(_subject(mine, seen), seen)]


@settings(deadline=None)
@given(SNAPSHOTS)
def test_a_queued_job_waits_for_nothing_exactly_when_the_next_turn_places_it(seen: Snapshot):
    placed = {placement.job_id for placement in seen.placements()}

    unhindered = {job.job_id for job in seen.candidates if not explain(_subject(job, seen), seen)}

    assert unhindered == placed


@settings(deadline=None)
@given(SNAPSHOTS)
def test_every_slot_that_is_asked_for_and_not_free_is_told(seen: Snapshot):
    for job in seen.candidates:
        reasons = explain(_subject(job, seen), seen)
        if reasons:
            told = {reason.slot_id for reason in reasons}
            assert told >= {each.slot.id for each in seen.slots if job.demand.selects(each.slot) and not each.free}


@settings(deadline=None)
@given(SNAPSHOTS)
def test_a_forecast_is_given_exactly_when_some_slot_serves_and_is_now_when_nothing_is_waited_for(seen: Snapshot):
    for job in seen.candidates:
        subject = _subject(job, seen)
        serving = any(each.serving and job.demand.admits(each.slot) for each in seen.slots)
        start = earliest_start(subject, seen)
        assert (start is not None) == serving
        if not explain(subject, seen):
            assert start == NOW


@pytest.mark.parametrize(
    ("slot", "kinds"),
    [
        (_slot("a.g0", holder=Holder(7)), [WaitsFor.SLOT_BUSY]),
        (_slot("a.g0", service=ServiceState.DRAINING), [WaitsFor.SLOT_DRAINING]),
        (_slot("a.g0", service=ServiceState.DRAINED), [WaitsFor.SLOT_DRAINING]),
        (_slot("a.g0", service=ServiceState.QUARANTINED), [WaitsFor.SLOT_QUARANTINED]),
        (_slot("a.g0", alive=False), [WaitsFor.NO_SUCH_SLOT_ALIVE, WaitsFor.WORKER_AWAY]),
        (_slot("a.cpu0"), [WaitsFor.NO_SUCH_SLOT_ALIVE]),
        (_slot("a.g0", holder=Holder(7), service=ServiceState.DRAINING), [WaitsFor.SLOT_DRAINING, WaitsFor.SLOT_BUSY]),
    ],
)
def test_what_keeps_a_slot_is_told(slot: Standing, kinds: list[WaitsFor]):
    assert _kinds(_queued(), slot) == kinds


def test_an_excluded_slot_is_told_as_long_as_no_other_is_free():
    mine = _queued("card_group !g0")

    assert _kinds(mine, _slot("a.g0")) == [WaitsFor.NO_SUCH_SLOT_ALIVE, WaitsFor.EXCLUDED]
    assert _kinds(mine, _slot("a.g0"), _slot("a.g1")) == []


def test_older_jobs_of_the_class_are_counted():
    older = tuple(_queued(number=number) for number in (1, 2, 3))
    seen = Snapshot(NOW, [_slot("a.g0")], (*older, _queued(number=9)))

    (reason,) = explain(_subject(seen.candidates[-1], seen), seen)

    assert (reason.kind, reason.count, reason.job_id) == (WaitsFor.BEHIND_IN_QUEUE, 3, 1)


def test_a_project_that_has_had_less_is_named():
    shares = {"x": Share(1000.0), "y": Share(10.0)}

    assert _kinds(_queued(), _slot("a.g0"), others=(_queued(number=2, project="y"),), shares=shares) == [
        WaitsFor.OTHER_PROJECT_FIRST
    ]


def test_a_job_of_another_class_that_takes_its_slot_is_named():
    mine, urgent = _queued("card_group g0", 1), _queued("card_group", 2, priority=9)

    assert _kinds(mine, _slot("a.g0"), others=(urgent,)) == [WaitsFor.BEHIND_IN_QUEUE]


def test_a_waiting_job_tells_what_it_needs_and_that_nobody_would_notice():
    needs = [Need(4, "convert", JobState.RUNNING), Need(5, "other", JobState.SUCCEEDED)]
    job = Subject(_queued(), JobState.WAITING, needs=needs, joined_to=3)

    reasons = explain(job, Snapshot(NOW, dispatcher_alive=False))

    assert [(reason.kind, reason.job_id) for reason in reasons] == [
        (WaitsFor.DISPATCHER_AWAY, None),
        (WaitsFor.NEEDS_JOB, 4),
        (WaitsFor.IDENTICAL_BUILD_UNDER_WAY, 3),
    ]


@pytest.mark.parametrize("alive", [True, False])
def test_an_assigned_job_waits_for_the_worker_of_its_slot(alive: bool):
    job = Subject(_queued(), JobState.ASSIGNED, slot_id="a.g0")
    seen = Snapshot(NOW, [_slot("a.g0", alive=alive, holder=Holder(1)), _slot("a.g1", alive=False)])

    reasons = explain(job, seen)

    away = [] if alive else [WaitsFor.WORKER_AWAY]
    assert [reason.kind for reason in reasons] == [WaitsFor.ASSIGNED_NOT_CLAIMED, *away]
    assert earliest_start(job, seen) == (NOW if alive else None)


def test_the_forecast_lets_those_ahead_take_the_slots_as_they_come_free():
    minute = timedelta(minutes=1)
    busy = [_slot("a.g0", holder=Holder(50, expected=NOW + minute)), _slot("a.g1", holder=Holder(51, expected=NOW))]
    job = Subject(_queued(number=9), JobState.QUEUED, ahead=2, next_job=1, seconds=600)

    start = earliest_start(job, Snapshot(NOW, busy, (job.candidate,)))

    assert start == NOW + 10 * minute


def test_a_held_job_waits_for_its_release_and_its_start_can_not_be_said():
    seen = Snapshot(NOW, [_slot("a.g0")], [_queued()])
    held = Subject(_queued(), JobState.QUEUED, held="alice holds it")

    assert [(reason.kind, reason.detail) for reason in explain(held, seen)] == [(WaitsFor.HELD, "alice holds it")]
    assert earliest_start(held, seen) is None
