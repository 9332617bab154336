"""Slots, queued jobs and laws of chance that the tests of placing share."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import strategies as st

from orchestrator.model.demand import Demand, FreeSlot
from orchestrator.model.shares import Share
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.model.windows import Window
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.place import place
from orchestrator.scheduling.placement.supply import BusySlot, Supply

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GROUP = Demand(SlotKind.CARD_GROUP)


def a_slot(slot_id: str, **facts) -> FreeSlot:
    host, _, name = slot_id.rpartition(".")
    labels = facts.pop("labels", frozenset()) | {f"host={host}"}
    return FreeSlot(slot_id, SlotName.parse(name), labels, **facts)


def a_host(name: str, groups: int = 8) -> list[FreeSlot]:
    return [a_slot(f"{name}.g{index}") for index in range(groups)]


def a_job(number: int, key: str = "card_group", priority: int = 5, **facts) -> Candidate:
    return Candidate(number, Demand.parse(key), priority, **facts)


def busy(slot_id: str, minutes: float) -> BusySlot:
    return BusySlot(a_slot(slot_id), NOW + minutes * MINUTE)


def a_window(start: float, end: float, project: str | None = None) -> Window:
    return Window(1, NOW + start * MINUTE, NOW + end * MINUTE, project, "alice", "probe")


def placed(queue: list[Candidate], free: list[FreeSlot], *, shares: dict[str, Share] | None = None, **supply):
    """What a turn does with only these free slots, unless more is said."""
    return place(queue, Supply(NOW, free, **supply), shares).placements


# ── what hypothesis thinks of ────────────────────────────────────────────────────────────────────────────────────────

NAMES = ["g0", "g1", "g2", "cpu0"]
IDS = [f"{host}.{name}" for host in ("a", "b") for name in NAMES]
PATTERNS = st.sampled_from(NAMES + IDS)
LABELS = st.frozensets(st.sampled_from(["rack=a", "rack=b"]), max_size=1)
SELECTORS = st.frozensets(st.sampled_from(["rack=a", "host=a", "host=b"]), max_size=1)
SINGLES = st.builds(
    Demand, st.sampled_from(SlotKind), st.just(()) | st.tuples(PATTERNS), st.frozensets(PATTERNS, max_size=2), SELECTORS
)
GANGS = st.builds(
    Demand,
    st.just(SlotKind.CARD_GROUP),
    st.sampled_from([(), (), ("g0", "g2"), ("g0", "g1", "g2")]),
    st.frozensets(PATTERNS, max_size=1),
    SELECTORS,
    st.integers(2, 4),
)
PROVISIONS = GANGS.map(lambda demand: replace(demand, provision=True))
CANARIES = SINGLES.map(lambda demand: replace(demand, canary=True))
WINDOWS = st.builds(a_window, st.integers(-30, 60), st.integers(61, 90), st.sampled_from([None, "x"]))
LIMITS = st.integers(1, 90).map(lambda minutes: minutes * MINUTE)


def candidates(demands: st.SearchStrategy[Demand]) -> st.SearchStrategy[Candidate]:
    return st.builds(
        Candidate, st.integers(1, 999), demands, st.integers(0, 9), st.frozensets(st.sampled_from(IDS), max_size=2),
        rank=st.sampled_from([0, 0, -1, -2]), project=st.sampled_from("xyz"), kcore=st.sampled_from([None, "k1", "k2"]),
        run_limit=LIMITS,
    )  # fmt: skip


def queues(demands: st.SearchStrategy[Demand]) -> st.SearchStrategy[list[Candidate]]:
    return st.lists(candidates(demands), max_size=12, unique_by=lambda job: job.job_id)


SLOTS = st.builds(
    lambda ids, labels, kcore: [a_slot(text, labels=labels, kcore=kcore) for text in ids],
    st.lists(st.sampled_from(IDS), unique=True), LABELS, st.sampled_from([None, "k1"]),
)  # fmt: skip


@st.composite
def supplies(draw: st.DrawFn) -> Supply:
    free, taken = [], []
    for slot in draw(SLOTS):
        if draw(st.booleans()):
            free.append(slot)
        else:
            taken.append(BusySlot(slot, NOW + draw(st.integers(-5, 90)) * MINUTE))
    windows = draw(st.dictionaries(st.sampled_from(IDS), st.tuples(WINDOWS), max_size=2))
    return Supply(NOW, free, taken, windows)


SHARES = st.dictionaries(st.sampled_from("xyz"), st.builds(Share, st.floats(0, 500), st.floats(0.5, 3)))
