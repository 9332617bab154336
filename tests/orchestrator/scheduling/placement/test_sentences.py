"""Every sentence of an explanation, from a lab where it is true; and in no other lab is it printed."""

import re
from collections.abc import Callable, Mapping, Sequence

import pytest
from builders.placement import (
    CANARIES,
    GANGS,
    MINUTE,
    NOW,
    PROVISIONS,
    SHARES,
    SINGLES,
    a_host,
    a_job,
    a_slot,
    a_window,
    queues,
    supplies,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.model.demand import FreeSlot, hosts_with_enough
from orchestrator.model.lacks import DISK, PORT, Lack
from orchestrator.model.shares import UNUSED, Share
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import JobState, ServiceState, Until
from orchestrator.scheduling.placement.candidate import Candidate, Placement
from orchestrator.scheduling.placement.explain import WaitsFor, explain
from orchestrator.scheduling.placement.place import place
from orchestrator.scheduling.placement.snapshot import ExplainedJob, Need, Occupant, Snapshot, Standing, supply_of
from orchestrator.scheduling.placement.supply import Supply

# ── why a job got its slots ──────────────────────────────────────────────────────────────────────────────────────────

FAILED_ON_G0 = frozenset({"a.g0"})
GANG_OF_TWO = a_job(1, "card_group x2", priority=9)
OTHERS_CLOSED = "the other free slots that fit are reserved or set aside for other jobs"
WAITS_FOR_A1 = {"free": a_host("a", 2), "windows": {"a.g1": (a_window(0, 60),)}}

PLACEMENTS: Mapping[str, tuple[Sequence[Candidate], Mapping, str]] = {
    "pinned": ([a_job(1, "card_group g0")], {"free": a_host("a")}, "the request names g0"),
    "pinned, after an attempt there": (
        [a_job(1, "card_group g0", avoid=FAILED_ON_G0)],
        {"free": a_host("a")},
        "the request names g0, although an earlier attempt here did not succeed",
    ),
    "pinned, after an attempt elsewhere": (
        [a_job(1, "card_group g1", avoid=FAILED_ON_G0)],
        {"free": a_host("a")},
        "the request names g1; earlier attempts on a.g0 did not succeed, and this is another slot",
    ),
    "after an attempt elsewhere": (
        [a_job(1, avoid=FAILED_ON_G0)],
        {"free": a_host("a", 2)},
        "earlier attempts on a.g0 did not succeed, and this is another slot",
    ),
    "alone": ([a_job(1)], {"free": [a_slot("a.g0"), a_slot("a.cpu0")]}, "no other slot that fits was free"),
    "alone, after an attempt there": (
        [a_job(1, avoid=FAILED_ON_G0)],
        {"free": a_host("a", 1)},
        "no other slot that fits was free, although an earlier attempt here did not succeed",
    ),
    "others reserved": ([a_job(1)], WAITS_FOR_A1, OTHERS_CLOSED),
    "others reserved, after an attempt there": (
        [a_job(1, avoid=FAILED_ON_G0)],
        WAITS_FOR_A1,
        f"{OTHERS_CLOSED}, although an earlier attempt here did not succeed",
    ),
    "tried on all": (
        [a_job(1, avoid=frozenset({"a.g0", "a.g1"}))],
        {"free": a_host("a", 2)},
        "earlier attempts did not succeed on any of the slots that were open to it (a.g0, a.g1)",
    ),
    "same kernel image": (
        [a_job(1, kcore="k1")],
        {"free": [a_slot("a.g0"), a_slot("a.g1", kcore="k1")]},
        "the kernel image that was placed on this slot last is the same",
    ),
    "idle": ([a_job(1)], {"free": a_host("a")}, "of the free slots that fit, none was used longer ago"),
    "others are named": (
        [a_job(1, priority=9), a_job(2, "card_group a.g0")],
        {"free": a_host("a", 2)},
        "other free slots, such as a.g0, are left to queued jobs that name them",
    ),
    "others for gangs": (
        [a_job(1, priority=9), a_job(2, "card_group x3")],
        {"free": [*a_host("a", 3), *a_host("b", 2)]},
        "hosts with more free slots are left to gangs",
    ),
    "a gang, named": ([a_job(1, "card_group g0 g1")], {"free": a_host("a")}, "the request names g0, g1"),
    "a gang, after an attempt there": (
        [a_job(1, "card_group x2", avoid=FAILED_ON_G0)],
        {"free": a_host("a", 2)},
        "no other host had enough free slots that fit, although an earlier attempt on a.g0 did not succeed",
    ),
    "a gang, one host": (
        [GANG_OF_TWO],
        {"free": [*a_host("a", 2), *a_host("b", 1)]},
        "no other host had enough free slots that fit",
    ),
    "a gang, another host reserved": (
        [GANG_OF_TWO],
        {"free": [*a_host("a", 2), *a_host("b", 2)], "windows": {"b.g0": (a_window(0, 60),)}},
        "no other host had enough free slots that fit and are neither reserved nor set aside",
    ),
    "a gang, the fullest host": (
        [GANG_OF_TWO],
        {"free": [*a_host("a", 3), *a_host("b", 2)]},
        "other hosts with enough free slots that fit had more free slots for gangs",
    ),
    "a gang, others named": (
        [GANG_OF_TWO, a_job(2, "card_group a.g0")],
        {"free": [*a_host("a", 2), *a_host("b", 2)]},
        "more jobs of this turn name slots of another host that was as good otherwise",
    ),
    "a gang, same kernel image": (
        [a_job(1, "card_group x2", kcore="k1")],
        {"free": [*a_host("a", 2), a_slot("b.g0", kcore="k1"), a_slot("b.g1")]},
        "the same kernel image was placed last on more of its slots than on those of one as good otherwise",
    ),
    "a gang, equal hosts": (
        [GANG_OF_TWO],
        {"free": [*a_host("a", 2), *a_host("b", 2)]},
        "another host with enough free slots that fit was as good",
    ),
    "a gang, an attempt elsewhere": (
        [a_job(1, "card_group x2", avoid=FAILED_ON_G0)],
        {"free": [*a_host("a", 2), *a_host("b", 2)]},
        "other hosts had too few slots besides a.g0, where earlier attempts did not succeed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", PLACEMENTS)
def test_each_reason_for_a_placement_is_given_where_it_is_true(case: str):
    queue, supply, sentence = PLACEMENTS[case]

    placed = {each.job_id: each.why for each in place(queue, Supply(NOW, **supply)).placements}

    assert placed[1] == sentence


class Moment:
    """What was free and open when a job was placed: the turn's earlier placements are taken from the supply."""

    def __init__(
        self, mine: Candidate, placed: Placement, supply: Supply, free: set[str], aside: Mapping, queue: list[Candidate]
    ) -> None:
        self.mine, self.placed, self._supply, self._aside, self._queue = mine, placed, supply, aside, queue
        self.fits = [slot for slot in supply.free if slot.id in free and mine.demand.admits(slot)]
        self.others = [slot for slot in self.fits if slot.id not in placed.slot_ids]
        self.chosen = [slot for slot in self.fits if slot.id in placed.slot_ids]

    def closed(self, slot: FreeSlot) -> bool:
        """Reserved for others, or set aside for a gang in this turn."""
        ends = NOW + self.mine.run_limit
        windows = self._supply.windows.get(slot.id, ())
        gathering = self._aside.get(slot.id)
        kept = gathering is not None and ends > gathering.starts_at
        return kept or any(window.closed(self.mine.project, NOW, ends) for window in windows)

    def hosts(self, slots: Sequence[FreeSlot]) -> set[str]:
        return {*hosts_with_enough(self.mine.demand, slots)} - {self.chosen[0].host}

    def named(self, slot: FreeSlot) -> bool:
        """Whether a queued job names the slot."""
        return any(name in job.demand.only for job in self._queue for name in slot.names)

    def groups(self, host: str) -> int:
        """Free card groups of a host as the turn began."""
        return sum(slot.host == host and slot.name.kind is SlotKind.CARD_GROUP for slot in self._supply.free)

    def tried(self, slots: Sequence[FreeSlot]) -> set[str]:
        return {slot.id for slot in slots if slot.id in self.mine.avoid}


TRUE_IF: Mapping[str, Callable[[Moment], bool]] = {
    r"the request names [\w., ]+": lambda now: set(now.mine.demand.only) <= {n for s in now.chosen for n in s.names},
    r"no other slot that fits was free": lambda now: not now.others,
    r"the other free slots that fit are reserved or set aside for other jobs": lambda now: (
        bool(now.others) and all(now.closed(slot) for slot in now.others)
    ),
    r"earlier attempts on [\w., ]+ did not succeed, and this is another slot": lambda now: (
        bool(now.mine.avoid) and not now.tried(now.chosen)
    ),
    r"earlier attempts did not succeed on any of the slots that were open to it \([\w., ]+\)": lambda now: all(
        slot.id in now.mine.avoid or now.closed(slot) for slot in now.fits
    ),
    r"the kernel image that was placed on this slot last is the same": lambda now: (
        now.mine.kcore is not None and now.chosen[0].kcore == now.mine.kcore
    ),
    r"of the free slots that fit, none was used longer ago": lambda now: all(
        now.closed(slot) for slot in now.fits[: now.fits.index(now.chosen[0])]
    ),
    r"other free slots, such as [\w.]+, are left to queued jobs that name them": lambda now: any(
        now.named(slot) and f"such as {slot.id}," in now.placed.why for slot in now.others
    ),
    r"hosts with more free slots are left to gangs": lambda now: any(
        now.groups(slot.host) > now.groups(now.chosen[0].host) for slot in now.others
    ),
    r"no other host had enough free slots that fit": lambda now: not now.hosts(now.fits),
    r"no other host had enough free slots that fit and are neither reserved nor set aside": lambda now: (
        not now.hosts([slot for slot in now.fits if not now.closed(slot)])
    ),
    r"other hosts with enough free slots that fit had more free slots for gangs": lambda now: bool(now.hosts(now.fits)),
    r"more jobs of this turn name slots of another host that was as good otherwise": lambda now: any(
        now.named(slot) and slot.host != now.chosen[0].host for slot in now.others
    ),
    r"the same kernel image was placed last on more of its slots than on those of one as good otherwise": lambda now: (
        any(slot.kcore == now.mine.kcore for slot in now.chosen)
    ),
    r"another host with enough free slots that fit was as good": lambda now: bool(now.hosts(now.fits)),
    r"other hosts had too few slots besides [\w., ]+, where earlier attempts did not succeed": lambda now: (
        not now.tried(now.chosen) and bool(now.tried(now.others))
    ),
}
"""Each sentence, and what it says of the moment. It is checked for every lab that hypothesis thinks of."""


@settings(deadline=None, max_examples=300)
@given(queues(SINGLES | CANARIES | GANGS | PROVISIONS), supplies(), SHARES)
def test_no_reason_for_a_placement_is_ever_false(queue: list[Candidate], supply: Supply, shares: dict[str, Share]):
    plan, jobs = place(queue, supply, shares), {job.job_id: job for job in queue}
    aside = {slot_id: gathering for gathering in plan.gatherings for slot_id in gathering.slot_ids}
    free = {slot.id for slot in supply.free}
    for placed in plan.placements:
        now = Moment(jobs[placed.job_id], placed, supply, free, aside, queue)
        said, _, although = placed.why.partition(", although ")
        for part in said.split("; "):
            (true,) = [check for pattern, check in TRUE_IF.items() if re.fullmatch(pattern, part)]
            assert true(now), part
        assert bool(although) == (bool(now.tried(now.chosen)) and "did not succeed on any" not in said)
        free -= set(placed.slot_ids)


# ── what a job waits for ─────────────────────────────────────────────────────────────────────────────────────────────


def _slot(slot_id: str, **facts) -> Standing:
    return Standing(a_slot(slot_id), **facts)


def _lab(*slots: Standing, queue: Sequence[Candidate] = (), shares: Mapping[str, Share] | None = None, **facts):
    supply = supply_of(slots, NOW, facts.pop("windows", {}))
    return Snapshot(supply, place(queue, supply, shares), slots, queue, shares or {}, **facts)


MINE = a_job(1, run_limit=30 * MINUTE)
RUNS = Occupant(7, NOW + 10 * MINUTE, NOW)
QUEUED, WAITING, ASSIGNED = JobState.QUEUED, JobState.WAITING, JobState.ASSIGNED
G0 = _slot("a.g0")
HELD_UP = Lack("r1", "conda is missing", NOW, None)

WAITS: Mapping[str, tuple[ExplainedJob, Snapshot, WaitsFor, str]] = {
    "no dispatcher": (
        ExplainedJob(MINE, QUEUED), _lab(dispatcher_alive=False), WaitsFor.DISPATCHER_AWAY,
        "no dispatcher leads; start one: tx81 dispatcher",
    ),
    "broker": (
        ExplainedJob(MINE, WAITING), _lab(broker="the broker does not answer"), WaitsFor.BROKER_TROUBLE,
        "the broker does not answer",
    ),
    "held": (ExplainedJob(MINE, QUEUED, held="ann put it on hold"), _lab(), WaitsFor.HELD, "ann put it on hold"),
    "batch": (
        ExplainedJob(MINE, WAITING, open_batch=3), _lab(), WaitsFor.BATCH_OPEN,
        "the other jobs of batch 3 are still being written",
    ),
    "needs success": (
        ExplainedJob(MINE, WAITING, needs=[Need(4, "convert", JobState.RUNNING)]), _lab(), WaitsFor.NEEDS_JOB,
        "job 4 (convert) has to succeed first; it is running",
    ),
    "needs readiness": (
        ExplainedJob(MINE, WAITING, needs=[Need(4, "serve", QUEUED, Until.READY)]), _lab(), WaitsFor.NEEDS_JOB,
        "job 4 (serve) has to be ready first; it is queued",
    ),
    "same build, in the queue": (
        ExplainedJob(MINE, WAITING, joined_to=3, joined_state=QUEUED), _lab(), WaitsFor.IDENTICAL_BUILD_UNDER_WAY,
        "job 3, queued, is the same build; its result is taken if it succeeds",
    ),
    "not claimed": (
        ExplainedJob(MINE, ASSIGNED, slot_id="a.g0"), _lab(G0), WaitsFor.ASSIGNED_NOT_CLAIMED,
        "a.g0 is leased to it; the slot's worker has not started it yet",
    ),
    "rung in vain": (
        ExplainedJob(MINE, ASSIGNED, slot_id="a.g0", rung_since=NOW), _lab(G0), WaitsFor.BELL_NOT_HEARD,
        ("the worker of a.g0 sends heartbeats, was notified more than once since 2026-03-01 12:00:00 UTC, and has not "
        "started it; if this lasts, the broker does not answer, or worker and dispatcher use different ones: compare "
        "their TX81_BROKER_URL and logs"),
    ),
    "no slot at all": (
        ExplainedJob(MINE, QUEUED), _lab(), WaitsFor.NO_SUCH_SLOT_ALIVE,
        "there is no slot with a worker that takes jobs and that fits 'card_group' (none is registered)",
    ),
    "no slot that is not excluded": (
        ExplainedJob(a_job(1, "card_group !g0"), QUEUED), _lab(G0), WaitsFor.NO_SUCH_SLOT_ALIVE,
        ("there is no slot with a worker that takes jobs and that fits 'card_group !g0' (all that it names are "
        "excluded, or their hosts lack what it needs)"),
    ),
    "no worker": (
        ExplainedJob(MINE, QUEUED), _lab(_slot("a.g0", alive=False)), WaitsFor.NO_SUCH_SLOT_ALIVE,
        "there is no slot with a worker that takes jobs and that fits 'card_group' (registered: a.g0)",
    ),
    "no host for a gang": (
        ExplainedJob(GANG_OF_TWO, QUEUED), _lab(G0, _slot("b.g0")), WaitsFor.NO_SUCH_SLOT_ALIVE,
        "no host has 2 slots with a worker that takes jobs and that fits 'card_group x2' (registered: a.g0, b.g0)",
    ),
    "excluded": (
        ExplainedJob(a_job(1, "card_group !g0"), QUEUED), _lab(G0), WaitsFor.EXCLUDED, "the request excludes a.g0",
    ),
    "release": (
        ExplainedJob(a_job(1, "card_group @r1"), QUEUED),
        _lab(Standing(a_slot("a.g0", lacks=frozenset({"r1"})), lacks={"r1": HELD_UP})), WaitsFor.LACKS_RELEASE,
        "a.g0 is excluded since 2026-03-01 12:00:00 UTC until its worker is restarted: conda is missing",
    ),
    "disk": (
        ExplainedJob(MINE, QUEUED),
        _lab(Standing(a_slot("a.g0", lacks=frozenset({DISK})), lacks={DISK: Lack(DISK, "full", NOW, NOW)})),
        WaitsFor.LACKS_DISK,
        "a.g0 is excluded since 2026-03-01 12:00:00 UTC until its worker finds that it is there again: full",
    ),
    "port": (
        ExplainedJob(a_job(1, "card_group serve"), QUEUED),
        _lab(Standing(a_slot("a.g0", lacks=frozenset({PORT})), lacks={PORT: Lack(PORT, "none free", NOW, NOW)})),
        WaitsFor.LACKS_PORT,
        "a.g0 is excluded since 2026-03-01 12:00:00 UTC until its worker finds that it is there again: none free",
    ),
    "gathering": (
        ExplainedJob(GANG_OF_TWO, QUEUED), _lab(G0, _slot("a.g1", occupant=RUNS), queue=[GANG_OF_TWO]),
        WaitsFor.GATHERING,
        ("a has 1 of the 2 slots that it needs at once; a.g0, a.g1 are set aside for it, from 2026-03-01 12:10:00 UTC "
        "at the latest"),
    ),
    "gathering elsewhere": (
        ExplainedJob(GANG_OF_TWO, QUEUED), _lab(G0, _slot("a.g1", occupant=RUNS)), WaitsFor.GATHERING,
        "a has 1 of the 2 slots that it needs at once",
    ),
    "kept for a gang": (
        ExplainedJob(a_job(2, run_limit=30 * MINUTE), QUEUED),
        _lab(G0, _slot("a.g1", occupant=RUNS), queue=[GANG_OF_TWO]), WaitsFor.KEPT_FOR_GANG,
        ("a.g0 is set aside for job 1, which needs 2 slots of a, from 2026-03-01 12:10:00 UTC at the latest; this job, "
        "which may run until 2026-03-01 12:30:00 UTC, might not end before"),
    ),
    "reserved": (
        ExplainedJob(MINE, QUEUED), _lab(G0, windows={"a.g0": (a_window(20, 60, "x"),)}), WaitsFor.RESERVED,
        ("a.g0 is reserved by alice for project x from 2026-03-01 12:20:00 UTC until 2026-03-01 13:00:00 UTC (probe); "
        "this job, which may run until 2026-03-01 12:30:00 UTC, would overlap with it"),
    ),
    "worker away": (
        ExplainedJob(MINE, QUEUED), _lab(_slot("a.g0", alive=False)), WaitsFor.WORKER_AWAY,
        "no recent heartbeat from the worker of a.g0",
    ),
    "worker deaf": (
        ExplainedJob(MINE, QUEUED), _lab(_slot("a.g0", alive=False, deaf="it hears nothing")), WaitsFor.WORKER_DEAF,
        "it hears nothing; the slot is used again when its worker has restarted",
    ),
    "quarantined": (
        ExplainedJob(MINE, QUEUED), _lab(_slot("a.g0", service=ServiceState.QUARANTINED, why="hot")),
        WaitsFor.SLOT_QUARANTINED,
        "a.g0 is quarantined (hot); returns to service when a canary passes or a person resumes it",
    ),
    "quarantined by a person": (
        ExplainedJob(MINE, QUEUED), _lab(_slot("a.g0", service=ServiceState.QUARANTINED, only_a_person=True)),
        WaitsFor.SLOT_QUARANTINED, "a.g0 is quarantined; returns to service when a person resumes it",
    ),
    "drained": (
        ExplainedJob(MINE, QUEUED), _lab(_slot("a.g0", service=ServiceState.DRAINED)), WaitsFor.SLOT_DRAINING,
        "a.g0 is drained; resume it to return it to service",
    ),
    "busy": (
        ExplainedJob(MINE, QUEUED), _lab(_slot("a.g0", occupant=RUNS)), WaitsFor.SLOT_BUSY,
        "job 7 has a.g0; its run limit ends at 2026-03-01 12:10:00 UTC",
    ),
    "busy beyond its run limit": (
        ExplainedJob(MINE, QUEUED), _lab(_slot("a.g0", occupant=Occupant(7, NOW - MINUTE, NOW))), WaitsFor.SLOT_BUSY,
        "job 7 has a.g0; its run limit has ended at 2026-03-01 11:59:00 UTC",
    ),
    "assigned to another": (
        ExplainedJob(MINE, QUEUED), _lab(_slot("a.g0", occupant=Occupant(7, NOW, NOW, started=False))),
        WaitsFor.SLOT_BUSY, "job 7 is assigned to a.g0 and has not started",
    ),
    "one ahead": (
        ExplainedJob(MINE, QUEUED, ahead=1, next_job=6), _lab(_slot("a.g0", occupant=RUNS)), WaitsFor.BEHIND_IN_QUEUE,
        ("1 job that asks for the same slots comes before it: more urgent, moved to the front, or older; the first is "
        "job 6"),
    ),
    "several ahead": (
        ExplainedJob(MINE, QUEUED, ahead=2, next_job=6), _lab(_slot("a.g0", occupant=RUNS)), WaitsFor.BEHIND_IN_QUEUE,
        ("2 jobs that ask for the same slots come before it: more urgent, moved to the front, or older; the first is "
         "job 6"),
    ),
    "another class first": (
        ExplainedJob(a_job(1, "card_group g0"), QUEUED), _lab(G0, queue=[a_job(2, priority=9)]),
        WaitsFor.BEHIND_IN_QUEUE, "job 2 comes before it in the queue, and gets a.g0 in the next turn",
    ),
    "the profile asks for a pause": (
        ExplainedJob(MINE, WAITING, not_before=NOW + MINUTE), _lab(G0),
        WaitsFor.PAUSE_AFTER_FAULT, "the profile asks for a pause after its latest fault",
    ),
    "another project had less": (
        ExplainedJob(MINE, QUEUED),
        _lab(G0, queue=[MINE, a_job(2, project="y")], shares={"default": Share(1000.0), "y": Share(10.0)}),
        WaitsFor.OTHER_PROJECT_FIRST,
        ("project y has had less slot time for its weight than default (slot-seconds for each unit of weight: 10.0 and "
        "1000.0)"),
    ),
    "another project as old": (
        ExplainedJob(a_job(3), QUEUED),
        _lab(G0, queue=[a_job(2, project="y"), a_job(3)], shares={"default": Share(10.0), "y": Share(10.0)}),
        WaitsFor.OTHER_PROJECT_FIRST,
        "job 2 of project y gets a slot first (slot-seconds for each unit of weight: 10.0 and 10.0)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WAITS)
def test_each_thing_that_a_job_waits_for_is_told_where_it_is_true(case: str):
    job, seen, kind, sentence = WAITS[case]

    assert sentence in [reason.detail for reason in explain(job, seen) if reason.kind is kind]


def test_each_kind_of_reason_has_a_lab_where_it_is_true():
    assert {kind for _, _, kind, _ in WAITS.values()} == {*WaitsFor}


SLOTS_OF_A_LAB = ("a.g0", "a.g1", "a.cpu0", "b.g0", "b.g1")


@st.composite
def labs(draw: st.DrawFn) -> Snapshot:
    """Slots in any state, and jobs that want some of them."""
    slots = [
        _slot(
            slot_id,
            alive=draw(st.sampled_from([True, True, False])),
            service=draw(st.sampled_from([ServiceState.IN_SERVICE] * 3 + [*ServiceState])),
            occupant=draw(
                st.none() | st.builds(Occupant, st.just(77), st.just(NOW + MINUTE), st.just(NOW), st.booleans())
            ),
        )
        for slot_id in draw(st.lists(st.sampled_from(SLOTS_OF_A_LAB), unique=True))
    ]
    return _lab(*slots, queue=draw(queues(SINGLES | GANGS)), shares=draw(SHARES))


@settings(deadline=None)
@given(labs())
def test_nothing_that_a_job_is_said_to_wait_for_is_ever_false(seen: Snapshot):
    standings = {each.slot.id: each for each in seen.slots}
    for mine in seen.candidates:
        for reason in explain(ExplainedJob(mine, QUEUED), seen):
            standing = standings.get(reason.slot_id or "")
            match reason.kind:
                case WaitsFor.SLOT_BUSY:
                    assert standing.occupant.job_id == reason.job_id
                    assert ("has not started" in reason.detail) == (not standing.occupant.started)
                case WaitsFor.WORKER_AWAY:
                    assert not standing.alive
                case WaitsFor.SLOT_DRAINING | WaitsFor.SLOT_QUARANTINED:
                    assert standing.service is not ServiceState.IN_SERVICE
                case WaitsFor.EXCLUDED:
                    assert mine.demand.excludes(standing.slot)
                case WaitsFor.NO_SUCH_SLOT_ALIVE:
                    assert not hosts_with_enough(mine.demand, (each.slot for each in seen.slots if each.alive))
                case WaitsFor.GATHERING:
                    assert reason.count < mine.demand.slots
                case WaitsFor.BEHIND_IN_QUEUE:
                    assert seen.taken[reason.slot_id] == reason.job_id
                case WaitsFor.OTHER_PROJECT_FIRST:
                    theirs, own = (seen.shares.get(name, UNUSED).standing for name in (reason.project, mine.project))
                    assert ("has had less" in reason.detail) == (theirs < own)
                    assert theirs < own or reason.job_id in seen.taken.values()
