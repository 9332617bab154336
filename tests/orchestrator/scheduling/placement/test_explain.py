"""What a job waits for, held against what placing does with the same snapshot."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from builders.placement import (
    CANARIES,
    GANGS,
    IDS,
    LABELS,
    MINUTE,
    NOW,
    PROVISIONS,
    SHARES,
    SINGLES,
    WINDOWS,
    a_job,
    a_slot,
    a_window,
    queues,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.demand import hosts_with_enough
from orchestrator.model.shares import Share
from orchestrator.model.states import JobState, ServiceState
from orchestrator.model.windows import Window
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.explain import WaitReason, WaitsFor, explain
from orchestrator.scheduling.placement.forecast import earliest_start
from orchestrator.scheduling.placement.place import place
from orchestrator.scheduling.placement.snapshot import ExplainedJob, Need, Occupant, Snapshot, Standing, supply_of

OCCUPANTS = st.builds(
    lambda latest, sooner: Occupant(1000, NOW + latest * MINUTE, NOW + (latest - sooner) * MINUTE),
    st.integers(-5, 90), st.integers(0, 20),
)  # fmt: skip


@st.composite
def _standings(draw: st.DrawFn) -> list[Standing]:
    found = []
    for slot_id in draw(st.lists(st.sampled_from(IDS), unique=True)):
        slot = a_slot(slot_id, labels=draw(LABELS), kcore=draw(st.sampled_from([None, "k1"])))
        service = draw(st.sampled_from([ServiceState.IN_SERVICE] * 4 + [*ServiceState]))
        alive = draw(st.sampled_from([True, True, True, False]))
        found.append(Standing(slot, alive, service, draw(st.none() | OCCUPANTS)))
    return found


def _seen(
    slots: Sequence[Standing] = (),
    candidates: Sequence[Candidate] = (),
    shares: Mapping[str, Share] | None = None,
    *,
    windows: Mapping[str, Sequence[Window]] | None = None,
    dispatcher_alive: bool = True,
) -> Snapshot:
    """What placing looks at, and what it does with it."""
    supply, standing = supply_of(slots, NOW, windows or {}), shares or {}
    return Snapshot(supply, place(candidates, supply, standing), slots, candidates, standing, dispatcher_alive)


SNAPSHOTS = st.builds(
    _seen, _standings(), queues(SINGLES | CANARIES | GANGS | PROVISIONS), SHARES,
    windows=st.dictionaries(st.sampled_from(IDS), st.tuples(WINDOWS), max_size=2),
)  # fmt: skip


def _subject(mine: Candidate, seen: Snapshot) -> ExplainedJob:
    ahead = [
        other.job_id
        for other in seen.candidates
        if other.demand.unlimited == mine.demand.unlimited
        and (
            (-other.priority, other.rank) < (-mine.priority, mine.rank)
            or (
                (other.project, other.priority, other.rank) == (mine.project, mine.priority, mine.rank)
                and other.job_id < mine.job_id
            )
        )
    ]
    return ExplainedJob(mine, JobState.QUEUED, ahead=len(ahead), next_job=min(ahead, default=None), seconds=10)


def _slot(slot_id: str, **facts) -> Standing:
    return Standing(a_slot(slot_id), **facts)


def _entered(job: Candidate, standing: Standing) -> bool:
    """Whether the job can have the slot, now or when its occupant has ended."""
    checks = job.demand.canary and standing.alive and standing.service is ServiceState.QUARANTINED
    return standing.serving or checks or (job.demand.provision and standing.free)


def _busy(job: int = 7, latest: float = 10, expected: float = 10) -> Occupant:
    return Occupant(job, NOW + latest * MINUTE, NOW + expected * MINUTE)


def _kinds(mine: Candidate, *slots: Standing, others: tuple[Candidate, ...] = (), **facts) -> list[WaitsFor]:
    seen = _seen(slots, (mine, *others), **facts)
    return [reason.kind for reason in explain(_subject(mine, seen), seen)]


@settings(deadline=None)
@given(SNAPSHOTS)
def test_a_queued_job_waits_for_nothing_exactly_when_the_next_turn_places_it(seen: Snapshot):
    placed = {placement.job_id for placement in seen.plan.placements}

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
def test_a_forecast_is_given_exactly_when_enough_slots_serve_and_is_now_when_nothing_is_waited_for(seen: Snapshot):
    for job in seen.candidates:
        subject = _subject(job, seen)
        serving = bool(hosts_with_enough(job.demand, (each.slot for each in seen.slots if _entered(job, each))))
        start = earliest_start(subject, seen)
        assert (start is not None) == serving
        if not explain(subject, seen):
            assert start == NOW


@pytest.mark.parametrize(
    ("slot", "kinds"),
    [
        (_slot("a.g0", occupant=_busy()), [WaitsFor.SLOT_BUSY]),
        (_slot("a.g0", service=ServiceState.DRAINING), [WaitsFor.SLOT_DRAINING]),
        (_slot("a.g0", service=ServiceState.DRAINED), [WaitsFor.SLOT_DRAINING]),
        (_slot("a.g0", service=ServiceState.QUARANTINED), [WaitsFor.SLOT_QUARANTINED]),
        (_slot("a.g0", alive=False), [WaitsFor.NO_SUCH_SLOT_ALIVE, WaitsFor.WORKER_AWAY]),
        (_slot("a.g0", alive=False, deaf="it does not hear"), [WaitsFor.NO_SUCH_SLOT_ALIVE, WaitsFor.WORKER_DEAF]),
        (_slot("a.cpu0"), [WaitsFor.NO_SUCH_SLOT_ALIVE]),
        (
            _slot("a.g0", occupant=_busy(), service=ServiceState.DRAINING),
            [WaitsFor.SLOT_DRAINING, WaitsFor.SLOT_BUSY],
        ),
    ],
)
def test_what_keeps_a_slot_is_told(slot: Standing, kinds: list[WaitsFor]):
    assert _kinds(a_job(1), slot) == kinds


@pytest.mark.parametrize("service", [ServiceState.DRAINING, ServiceState.QUARANTINED])
def test_what_took_a_slot_out_of_service_is_told_with_it(service: ServiceState):
    (reason,) = _told(a_job(1), _slot("a.g0", service=service, why="HPGR: device error (job 9)"))

    assert "HPGR: device error (job 9)" in reason.detail


@pytest.mark.parametrize("service", [ServiceState.QUARANTINED, ServiceState.DRAINED])
def test_what_sets_up_a_host_may_have_slots_that_are_out_of_service(service: ServiceState):
    slots = [_slot(f"a.g{index}", service=service) for index in range(8)]

    assert _kinds(a_job(1, "card_group provision x8 host=a"), *slots) == []
    assert WaitsFor.NO_SUCH_SLOT_ALIVE not in _kinds(a_job(1, "card_group x8 host=a"), *slots)


def test_an_excluded_slot_is_told_as_long_as_no_other_is_free():
    mine = a_job(1, "card_group !g0")

    assert _kinds(mine, _slot("a.g0")) == [WaitsFor.NO_SUCH_SLOT_ALIVE, WaitsFor.EXCLUDED]
    assert _kinds(mine, _slot("a.g0"), _slot("a.g1")) == []


def test_busy_slots_are_told_in_the_order_of_their_numbers():
    busy = [_slot(slot_id, occupant=_busy()) for slot_id in ("b.g1", "a.g7", "a.g0", "b.g0")]

    told = _told(a_job(1), *busy)

    assert [reason.slot_id for reason in told] == ["a.g0", "a.g7", "b.g0", "b.g1"]


def test_older_jobs_of_the_class_are_counted():
    older = tuple(a_job(number) for number in (1, 2, 3))
    seen = _seen([_slot("a.g0")], (*older, a_job(9)))

    (reason,) = explain(_subject(seen.candidates[-1], seen), seen)

    assert (reason.kind, reason.count, reason.job_id) == (WaitsFor.BEHIND_IN_QUEUE, 3, 1)


def test_a_project_that_has_had_less_is_named():
    shares = {"x": Share(1000.0), "y": Share(10.0)}

    assert _kinds(a_job(1, project="x"), _slot("a.g0"), others=(a_job(2, project="y"),), shares=shares) == [
        WaitsFor.OTHER_PROJECT_FIRST
    ]


def test_a_job_of_another_class_that_takes_its_slot_is_named():
    mine, urgent = a_job(1, "card_group g0"), a_job(2, priority=9)

    assert _kinds(mine, _slot("a.g0"), others=(urgent,)) == [WaitsFor.BEHIND_IN_QUEUE]


def test_a_waiting_job_tells_what_it_needs_and_that_nobody_would_notice():
    needs = [Need(4, "convert", JobState.RUNNING), Need(5, "other", JobState.SUCCEEDED, met=True)]
    job = ExplainedJob(a_job(1), JobState.WAITING, needs=needs, joined_to=3)

    reasons = explain(job, _seen(dispatcher_alive=False))

    assert [(reason.kind, reason.job_id) for reason in reasons] == [
        (WaitsFor.DISPATCHER_AWAY, None),
        (WaitsFor.NEEDS_JOB, 4),
        (WaitsFor.IDENTICAL_BUILD_UNDER_WAY, 3),
    ]


@pytest.mark.parametrize(("until", "told"), [(NOW + MINUTE, True), (NOW, False), (None, False)])
def test_a_pause_after_a_fault_is_told_with_its_end(until, told: bool):
    reasons = explain(ExplainedJob(a_job(1), JobState.WAITING, not_before=until), _seen())

    assert [(reason.kind, reason.until) for reason in reasons] == (
        [(WaitsFor.PAUSE_AFTER_FAULT, until)] if told else []
    )


@pytest.mark.parametrize("alive", [True, False])
def test_an_assigned_job_waits_for_the_worker_of_its_slot(alive: bool):
    job = ExplainedJob(a_job(1), JobState.ASSIGNED, slot_id="a.g0")
    seen = _seen([_slot("a.g0", alive=alive, occupant=_busy(1)), _slot("a.g1", alive=False)])

    reasons = explain(job, seen)

    away = [] if alive else [WaitsFor.WORKER_AWAY]
    assert [reason.kind for reason in reasons] == [WaitsFor.ASSIGNED_NOT_CLAIMED, *away]
    assert earliest_start(job, seen) == (NOW if alive else None)


@pytest.mark.parametrize("alive", [True, False])
def test_a_living_worker_that_hears_no_bell_points_to_the_broker(alive: bool):
    job = ExplainedJob(a_job(1), JobState.ASSIGNED, slot_id="a.g0", rung_since=NOW - MINUTE)

    reasons = explain(job, _seen([_slot("a.g0", alive=alive, occupant=_busy(1))]))

    told = WaitsFor.BELL_NOT_HEARD if alive else WaitsFor.WORKER_AWAY
    assert [reason.kind for reason in reasons] == [WaitsFor.ASSIGNED_NOT_CLAIMED, told]
    assert ("TX81_BROKER_URL" in reasons[1].detail) is alive


@pytest.mark.parametrize("state", [JobState.QUEUED, JobState.ASSIGNED])
def test_a_canary_starts_at_once_on_the_quarantined_slot_that_it_is_to_check(state: JobState):
    quarantined = _slot("a.g0", service=ServiceState.QUARANTINED, occupant=_busy(1) if state == "assigned" else None)
    canary = ExplainedJob(a_job(1, "card_group a.g0 canary"), state, slot_id="a.g0" if state == "assigned" else None)

    assert earliest_start(canary, _seen([quarantined], [canary.candidate])) == NOW


def test_a_canary_starts_when_what_runs_on_its_quarantined_slot_has_ended():
    busy = _slot("a.g0", service=ServiceState.QUARANTINED, occupant=_busy(7, expected=3))
    canary = ExplainedJob(a_job(1, "card_group a.g0 canary"), JobState.QUEUED, seconds=10)

    assert earliest_start(canary, _seen([busy], [canary.candidate])) == NOW + 3 * MINUTE


def test_the_forecast_lets_those_ahead_take_the_slots_as_they_come_free():
    busy = [_slot("a.g0", occupant=_busy(50, expected=1)), _slot("a.g1", occupant=_busy(51, expected=0))]
    job = ExplainedJob(a_job(9), JobState.QUEUED, ahead=2, next_job=1, seconds=600)

    start = earliest_start(job, _seen(busy, (job.candidate,)))

    assert start == NOW + 10 * MINUTE


def test_a_held_job_waits_for_its_release_and_its_start_can_not_be_said():
    seen = _seen([_slot("a.g0")], [a_job(1)])
    held = ExplainedJob(a_job(1), JobState.QUEUED, held="alice holds it")

    assert [(reason.kind, reason.detail) for reason in explain(held, seen)] == [(WaitsFor.HELD, "alice holds it")]
    assert earliest_start(held, seen) is None


# ── gangs, kept slots, windows ─────────────────────────────────────────────────────────────────────────────────────


def _told(mine: Candidate, *slots: Standing, others: tuple[Candidate, ...] = (), **facts) -> list[WaitReason]:
    seen = _seen(slots, (mine, *others), **facts)
    return explain(_subject(mine, seen), seen)


def test_a_gang_tells_how_far_each_host_is_and_what_is_kept_for_it():
    slots = [
        _slot("a.g0"),
        _slot("a.g1", occupant=_busy(latest=10)),
        _slot("b.g0", occupant=_busy(8, latest=30)),
    ]

    told = _told(a_job(1, "card_group x2"), *slots, _slot("b.g1", occupant=_busy(9, latest=20)))

    gathering = [reason for reason in told if reason.kind is WaitsFor.GATHERING]
    assert [(reason.host, reason.count, reason.until) for reason in gathering] == [
        ("a", 1, NOW + 10 * MINUTE),
        ("b", 0, None),
    ]
    assert "a.g0, a.g1 are set aside for it, from 2026-03-01 12:10:00 UTC at the latest" in gathering[0].detail
    assert [reason.job_id for reason in told if reason.kind is WaitsFor.SLOT_BUSY] == [7, 8, 9]


def test_a_gang_that_no_host_could_hold_is_told_so():
    (reason,) = _told(a_job(1, "card_group x2"), _slot("a.g0"), _slot("b.g0"))

    assert reason.kind is WaitsFor.NO_SUCH_SLOT_ALIVE
    assert "no host has 2 slots" in reason.detail


def test_a_job_that_might_not_end_in_time_is_told_for_which_gang_a_slot_is_kept():
    gang, slots = a_job(1, "card_group x2"), [_slot("a.g0"), _slot("a.g1", occupant=_busy(latest=10))]
    long, short = a_job(2, run_limit=11 * MINUTE), a_job(2, run_limit=10 * MINUTE)

    kept = [each for each in _told(long, *slots, others=(gang,)) if each.kind is WaitsFor.KEPT_FOR_GANG]

    assert [(each.slot_id, each.job_id, each.until) for each in kept] == [("a.g0", 1, NOW + 10 * MINUTE)]
    assert _told(short, *slots, others=(gang,)) == []


def test_a_short_job_that_runs_while_a_gang_gathers_is_not_said_to_come_before_it():
    gang, slots = a_job(1, "card_group x2"), [_slot("a.g0"), _slot("a.g1", occupant=_busy(latest=10))]
    short = a_job(2, run_limit=MINUTE, project="y")

    assert [each.kind for each in _told(gang, *slots, others=(short,))] == [WaitsFor.GATHERING, WaitsFor.SLOT_BUSY]


def test_a_slot_that_people_have_reserved_tells_by_whom_until_when_and_why():
    mine = a_job(1, run_limit=30 * MINUTE)

    (reason,) = _told(mine, _slot("a.g0"), windows={"a.g0": (a_window(20, 60, "bringup"),)})

    assert (reason.kind, reason.slot_id, reason.project) == (WaitsFor.RESERVED, "a.g0", "bringup")
    assert reason.until == NOW + 60 * MINUTE
    assert "reserved by alice for project bringup" in reason.detail
    assert "(probe)" in reason.detail


def test_a_gang_is_forecast_to_start_when_enough_slots_of_one_host_are_expected_to_be_free():
    ends = {"a.g0": 5, "a.g1": 30, "b.g0": 10, "b.g1": 20}
    slots = [_slot(slot_id, occupant=_busy(number, 90, end)) for number, (slot_id, end) in enumerate(ends.items(), 2)]
    seen = _seen(slots, (a_job(1, "card_group x2"),))
    first = ExplainedJob(seen.candidates[0], JobState.QUEUED, seconds=600)

    starts = [earliest_start(replace(first, ahead=ahead), seen) for ahead in (0, 1, 2)]

    assert starts == [NOW + 20 * MINUTE, NOW + 30 * MINUTE, NOW + 30 * MINUTE]


def test_a_job_behind_a_gang_is_forecast_to_start_when_the_gang_has_run():
    gang, mine = a_job(1, "card_group x2", run_limit=20 * MINUTE), a_job(2, run_limit=60 * MINUTE)
    seen = _seen([_slot("a.g0"), _slot("a.g1", occupant=_busy(latest=10))], (gang, mine))

    assert earliest_start(ExplainedJob(mine, JobState.QUEUED, seconds=60), seen) == NOW + 30 * MINUTE


def test_a_job_is_forecast_to_start_when_a_reservation_by_people_is_over():
    mine = a_job(1, run_limit=30 * MINUTE)
    seen = _seen([_slot("a.g0")], (mine,), windows={"a.g0": (a_window(20, 60),)})

    assert earliest_start(ExplainedJob(mine, JobState.QUEUED, seconds=60), seen) == NOW + 60 * MINUTE
