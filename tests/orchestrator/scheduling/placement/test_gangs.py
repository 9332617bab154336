"""Jobs that need several slots of one host at once: they get all or none, and nobody placed later delays them."""

from collections import Counter
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from builders.placement import (
    GANGS,
    MINUTE,
    NOW,
    SHARES,
    SINGLES,
    a_host,
    a_job,
    a_slot,
    a_window,
    busy,
    candidates,
    placed,
    queues,
    supplies,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.shares import Share
from orchestrator.scheduling.placement.candidate import Candidate, Placement
from orchestrator.scheduling.placement.order import MOST_URGENT, urgency
from orchestrator.scheduling.placement.place import place
from orchestrator.scheduling.placement.supply import BusySlot, Supply

ANY = SINGLES | GANGS
SIMULATED = settings(deadline=None, max_examples=settings.default.max_examples * 3 // 5)
SHORT, LONG = 5 * MINUTE, 60 * MINUTE


def _slots(placements: list[Placement]) -> dict[int, tuple[str, ...]]:
    return {each.job_id: each.slot_ids for each in placements}


def _through(queue: list[Candidate], supply: Supply, used: dict[int, float]) -> dict[int, datetime]:
    """When each job starts, if job N takes `used[N]` of its run limit and everything is queued from the beginning."""
    every = {slot.id: slot for slot in [*supply.free, *(each.slot for each in supply.busy)]}
    ends = {each.slot.id: (each.until, each.until) for each in supply.busy}
    started: dict[int, datetime] = {}
    now = supply.now
    while True:
        ends = {slot: (end, latest) for slot, (end, latest) in ends.items() if end > now}
        free = [slot for slot in every.values() if slot.id not in ends]
        held = [BusySlot(every[slot], latest) for slot, (_, latest) in ends.items()]
        waiting = [job for job in queue if job.job_id not in started]
        for each in place(waiting, Supply(now, free, held, supply.windows)).placements:
            started[each.job_id] = now
            limit = next(job.run_limit for job in queue if job.job_id == each.job_id)
            ends |= dict.fromkeys(each.slot_ids, (now + limit * used.get(each.job_id, 1.0), now + limit))
        moments = [end for end, _ in ends.values()]
        moments += [window.ends_at for windows in supply.windows.values() for window in windows]
        if not (later := [moment for moment in moments if moment > now]):
            return started
        now = min(later)


# ── all or none ──────────────────────────────────────────────────────────────────────────────────────────────────────


@given(queues(ANY), supplies(), SHARES)
def test_every_job_gets_all_its_slots_on_one_host_in_order_or_none_and_no_slot_is_given_twice(queue, supply, shares):
    jobs, free = {job.job_id: job for job in queue}, {slot.id: slot for slot in supply.free}

    placements = place(queue, supply, shares).placements

    given_away = Counter(slot for each in placements for slot in each.slot_ids)
    assert all(number == 1 for number in given_away.values())
    for each in placements:
        slots = [free[slot_id] for slot_id in each.slot_ids]
        demand = jobs[each.job_id].demand
        assert len(slots) == demand.slots
        assert len({slot.host for slot in slots}) == 1
        assert [slot.name.index for slot in slots] == sorted(slot.name.index for slot in slots)
        assert all(demand.admits(slot) for slot in slots)


@given(queues(ANY), supplies(), SHARES, st.randoms(use_true_random=False))
def test_the_order_in_which_jobs_are_found_does_not_matter(queue, supply, shares, random):
    assert place(random.sample(queue, len(queue)), supply, shares) == place(queue, supply, shares)


def test_a_gang_takes_the_host_with_the_fewest_free_slots_that_are_enough():
    free = [*a_host("a", 8), *a_host("b", 3), *a_host("c", 1)]

    gangs = _slots(placed([a_job(1, "card_group x2"), a_job(2, "card_group x8")], free))

    assert gangs == {1: ("b.g0", "b.g1"), 2: tuple(slot.id for slot in a_host("a"))}


def test_a_gang_that_names_its_slots_gets_these_of_one_host():
    free = [a_slot("a.g0"), a_slot("a.g1"), a_slot("b.g2"), a_slot("b.g0")]

    assert _slots(placed([a_job(1, "card_group g0 g2")], free)) == {1: ("b.g0", "b.g2")}


def test_a_gang_may_be_bound_to_a_host_by_its_name():
    free = [*a_host("a", 2), *a_host("b", 4)]

    assert _slots(placed([a_job(1, "card_group x2 host=b")], free)) == {1: ("b.g0", "b.g1")}


def test_single_jobs_fill_a_host_that_is_in_use_while_a_gang_waits():
    free = [*a_host("a", 8), *a_host("b", 2)]
    singles = [a_job(1, priority=9), a_job(2, priority=9)]

    with_gang = _slots(placed([*singles, a_job(3, "card_group x8")], free))

    assert with_gang == {1: ("b.g0",), 2: ("b.g1",), 3: tuple(slot.id for slot in a_host("a"))}
    assert _slots(placed(singles, free)) == {1: ("a.g0",), 2: ("a.g1",)}


def test_a_gang_avoids_a_host_where_it_failed_and_prefers_the_kernel_image():
    free = [*(replace(slot, kcore="k") for slot in a_host("a", 4)), *a_host("b", 4), *a_host("c", 4)]
    again = a_job(1, "card_group x2", avoid=frozenset({"b.g0"}))
    thrice = replace(again, avoid=frozenset({"b.g0", "b.g1", "b.g2"}))

    assert _slots(placed([replace(again, kcore="k")], free)) == {1: ("a.g0", "a.g1")}
    assert _slots(placed([again], free[4:])) == {1: ("b.g1", "b.g2")}
    assert _slots(placed([thrice], free[4:])) == {1: ("c.g0", "c.g1")}


def test_a_gang_counts_as_all_its_slots_for_its_project():
    free = [*a_host("a", 4)]
    others = [
        a_job(2, project="y"),
        a_job(3, project="y"),
        a_job(4, project="x"),
    ]

    assert _slots(placed([a_job(1, "card_group x2", project="x"), *others], free)).keys() == {1, 2, 3}


# ── what is kept for a gang ──────────────────────────────────────────────────────────────────────────────────────────


@given(queues(ANY), supplies(), SHARES)
def test_slots_are_kept_for_one_waiting_gang_a_host_and_only_for_one_that_the_host_can_hold(queue, supply, shares):
    jobs = {job.job_id: job for job in queue}
    every = {slot.id: slot for slot in [*supply.free, *(each.slot for each in supply.busy)]}

    plan = place(queue, supply, shares)

    started = {each.job_id for each in plan.placements}
    assert len({each.host for each in plan.gatherings}) == len(plan.gatherings)
    for kept in plan.gatherings:
        demand = jobs[kept.job_id].demand
        assert kept.job_id not in started
        assert len(kept.slot_ids) == demand.slots > 1
        assert all(demand.admits(every[slot]) and every[slot].host == kept.host for slot in kept.slot_ids)
        assert kept.starts_at >= supply.now


@given(queues(ANY), supplies(), SHARES)
def test_a_job_that_is_placed_on_a_slot_that_is_kept_ends_before_the_gang_starts(queue, supply, shares):
    limits = {job.job_id: job.run_limit for job in queue}

    plan = place(queue, supply, shares)

    kept = {slot: each.starts_at for each in plan.gatherings for slot in each.slot_ids}
    for each in plan.placements:
        assert all(supply.now + limits[each.job_id] <= kept.get(slot, datetime.max.replace(tzinfo=NOW.tzinfo))
                   for slot in each.slot_ids)  # fmt: skip


def test_a_short_job_runs_on_a_kept_slot_and_a_long_one_does_not():
    gang, held = a_job(1, "card_group x2"), [busy("a.g1", 10)]
    short, long = a_job(2, run_limit=10 * MINUTE), a_job(3, run_limit=11 * MINUTE)

    plan = place([gang, short, long], Supply(NOW, [a_slot("a.g0")], held))
    without_the_short_one = place([gang, long], Supply(NOW, [a_slot("a.g0")], held))

    assert _slots(plan.placements) == {2: ("a.g0",)}
    assert without_the_short_one.placements == []
    assert [(kept.job_id, kept.slot_ids, kept.starts_at) for kept in plan.gatherings] == [
        (1, ("a.g0", "a.g1"), NOW + 10 * MINUTE)
    ]


def test_a_long_job_takes_a_slot_that_the_gang_does_not_need():
    free, held = [a_slot("a.g0"), a_slot("b.g0")], [busy("a.g1", 10), busy("b.g1", 20)]

    plan = place([a_job(1, "card_group x2"), a_job(2)], Supply(NOW, free, held))

    assert _slots(plan.placements) == {2: ("b.g0",)}


def test_a_gang_that_no_host_can_hold_keeps_nothing_and_changes_nothing():
    free, held = a_host("a", 3), [busy("b.g0", 10)]
    singles = [a_job(2), a_job(3), a_job(4)]

    with_gang = place([a_job(1, "card_group x4", priority=9), *singles], Supply(NOW, free, held))

    assert with_gang == place(singles, Supply(NOW, free, held))
    assert len(with_gang.placements) == 3


def test_a_second_gang_gathers_on_another_host_meanwhile():
    held = [busy(f"{host}.g{index}", 10) for host in "ab" for index in (0, 1)]
    gangs = [a_job(1, "card_group x2"), a_job(2, "card_group x2"), a_job(3, "card_group x2")]

    plan = place(gangs, Supply(NOW, [a_slot("a.cpu0")], held))

    assert [(kept.job_id, kept.host) for kept in plan.gatherings] == [(1, "a"), (2, "b")]


def test_gangs_gather_where_they_start_first_one_host_after_the_other():
    ends = {"a": 30, "b": 10, "c": 20}
    hosts = [busy(f"{host}.g{index}", minutes) for host, minutes in ends.items() for index in (0, 1)]
    gangs = [a_job(number, "card_group x2", run_limit=5 * MINUTE) for number in range(3)]

    gatherings = place(gangs, Supply(NOW, [], hosts)).gatherings

    assert [(each.job_id, each.host) for each in gatherings] == [(0, "b"), (1, "c"), (2, "a")]


def test_a_gang_gathers_elsewhere_when_a_single_job_made_the_host_where_it_starts_first_a_later_one():
    ends = {"a.g1": 10, "b.g0": 30, "b.g1": 30, "c.g0": 5, "c.g1": 5}
    held = [busy(*each) for each in ends.items()]
    gangs = [a_job(number, "card_group x2", priority, run_limit=5 * MINUTE) for number, priority in ((1, 9), (3, 5))]
    single = a_job(2, "card_group a.g0", 7, run_limit=60 * MINUTE)

    plan = place([*gangs, single], Supply(NOW, [a_slot("a.g0")], held))

    assert [each.job_id for each in plan.placements] == [2]
    assert [(each.job_id, each.host) for each in plan.gatherings] == [(1, "c"), (3, "b")]


def test_a_gang_does_not_gather_where_people_have_reserved_until_that_is_over():
    window = {"a.g0": (a_window(5, 40),)}
    gang = a_job(1, "card_group x2", run_limit=10 * MINUTE, project="x")

    plan = place([gang], Supply(NOW, [a_slot("a.g0")], [busy("a.g1", 1)], window))

    assert [kept.starts_at for kept in plan.gatherings] == [NOW + 40 * MINUTE]


# ── nobody delays it ─────────────────────────────────────────────────────────────────────────────────────────────────


@SIMULATED
@given(candidates(GANGS), queues(ANY), supplies())
def test_with_all_jobs_at_their_limit_the_first_gang_starts_as_if_it_were_alone(gang, others, supply):
    gang = replace(gang, job_id=0, priority=9, rank=-99, project="x")
    alone = _through([gang], supply, {})

    crowded = _through([gang, *others], supply, {})

    assert crowded.get(0) == alone.get(0)


@SIMULATED
@given(candidates(GANGS), queues(ANY), supplies(), st.lists(st.floats(0.01, 1.0), min_size=12, max_size=12))
def test_jobs_that_end_early_never_make_it_start_later(gang, others, supply, shares):
    gang = replace(gang, job_id=0, priority=9, rank=-99, project="x")
    used = {job.job_id: share for job, share in zip(others, shares, strict=False)}

    crowded = _through([gang, *others], supply, used)

    assert crowded.get(0, NOW) <= _through([gang], supply, {}).get(0, NOW)


@SIMULATED
@given(queues(ANY), supplies())
def test_everything_that_some_host_could_hold_starts_in_the_end(queue, supply):
    started = _through(queue, supply, {})

    assert started.keys() == {job.job_id for job in queue if supply.could_hold(job.demand)}


@SIMULATED
@given(st.integers(0, 9), st.sampled_from(["mine", "another"]), st.integers(2, 8))
def test_a_gang_does_not_starve_while_more_urgent_single_jobs_keep_coming(priority, rival, size):
    """Slots come free one after the other, and there is always a new most urgent job for each of them."""
    host, shares = a_host("a", size), {"mine": Share(), "another": Share()}
    ends = {slot.id: NOW + (index + 1) * 7 * MINUTE for index, slot in enumerate(host)}
    now, started, queue = NOW, None, []
    while started is None and now < NOW + timedelta(days=2):
        free = [slot for slot in host if ends[slot.id] <= now]
        held = [BusySlot(slot, ends[slot.id]) for slot in host if ends[slot.id] > now]
        queue.append((len(queue) + 1, now))
        waiting = [
            a_job(number, priority=urgency(MOST_URGENT, waited=now - since, aging=LONG), project=rival, run_limit=LONG)
            for number, since in queue[-size:]
        ]
        aged = urgency(priority, waited=now - NOW, aging=LONG)
        gang = a_job(0, f"card_group x{size}", priority=aged, project="mine", run_limit=LONG)
        for each in place([gang, *waiting], Supply(now, free, held), shares).placements:
            ends |= dict.fromkeys(each.slot_ids, now + LONG)
            if each.job_id == 0:
                started = now
            else:
                shares[rival] = shares[rival].charged(LONG.total_seconds())
        now = max(now + MINUTE, min(ends.values()))

    assert started is not None
    assert started <= NOW + (MOST_URGENT - priority) * LONG + 2 * LONG


# ── windows ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@given(queues(ANY), supplies(), SHARES)
def test_no_job_is_placed_where_it_could_run_into_a_window_that_is_not_its_project_s(queue, supply, shares):
    jobs = {job.job_id: job for job in queue}

    for each in place(queue, supply, shares).placements:
        job = jobs[each.job_id]
        for window in (window for slot in each.slot_ids for window in supply.windows.get(slot, ())):
            ends_at = supply.now + job.run_limit
            assert window.project == job.project or ends_at <= window.starts_at or supply.now >= window.ends_at


@pytest.mark.parametrize(
    ("window", "project", "placed_there"),
    [
        (a_window(-5, 5), "x", False),
        (a_window(-5, 5, "x"), "x", True),
        (a_window(-5, 5, "y"), "x", False),
        (a_window(59, 90), "x", False),
        (a_window(60, 90), "x", True),
        (a_window(-9, 0), "x", True),
    ],
)
def test_a_window_is_for_its_project_and_for_jobs_that_end_before_it(window, project, placed_there):
    job = a_job(1, project=project, run_limit=LONG)

    placements = placed([job], [a_slot("a.g0")], windows={"a.g0": (window,)})

    assert bool(placements) == placed_there
