"""How long a turn of the dispatcher takes as the queue grows: `python -m benchmarks placement [ROUNDS]` (default 21).

A real SQLite database with 8 or 64 slots, all free, or 1,024, of which 64 are; every turn fills what is free, and is
rolled back, so that all rounds see the same queue. Jobs are of 4 projects, 3 priorities and 7 demand classes, one of
them of gangs. Beside it the pure function with 1,024 slots: all free, and with a gang on each host that waits for one
more. All is processor time, because a turn waits for nothing but the disk, and the sizes are taken in turns. `growth`
is the median of 100,000 queued jobs over that of 100.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path

from alembic import command
from sqlalchemy import insert
from sqlalchemy.orm import Session

from migrations.__main__ import config
from orchestrator.dispatcher.turn import place_queued
from orchestrator.model.demand import Demand, FreeSlot
from orchestrator.model.shares import Share
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.model.states import AttemptState, JobState
from orchestrator.scheduling import queue
from orchestrator.scheduling.placement.candidate import Candidate
from orchestrator.scheduling.placement.place import place
from orchestrator.scheduling.placement.supply import BusySlot, Supply
from orchestrator.settings import url_of_sqlite
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Job, Lease, Project, Release, Slot

QUEUES = (100, 10_000, 100_000)
SLOTS = (8, 64, 1_024)
FREE = 64
"""So many at most are free: more than the shortest queue has jobs for would make its turn a shorter one."""
PROJECTS = ("default", "nightly", "bringup", "customer")
DEMANDS = (
    "card_group <64", "card_group <1024", "card_group <4096", "card_group g0 <64", "card_group !g7 <1024",
    "card_group rack=a <4096", "card_group x2 <1024",
)  # fmt: skip
LEASE = timedelta(seconds=60)


class Undone(Exception):
    """Ends a transaction without keeping it."""


@contextmanager
def queue_of(jobs: int, slots: int) -> Iterator[Database]:
    """A database with so many queued jobs and free slots."""
    with tempfile.TemporaryDirectory(prefix="tx81-bench-") as folder:
        url = url_of_sqlite(Path(folder) / "tx81.db")
        command.upgrade(config(url), "head")
        database = Database(url)
        now = datetime.now(UTC)
        with database.write() as session:
            session.execute(insert(Release), {
                "name": "r", "profile": {}, "root": "/", "digest": "d", "is_default": True, "created_at": now,
            })  # fmt: skip
            session.execute(insert(Project), [
                {"name": name, "weight": 1.0 + number, "used_seconds": 100.0 * number, "used_at": now,
                 "half_life_seconds": 86400.0}
                for number, name in enumerate(PROJECTS)
            ])  # fmt: skip
            session.execute(insert(Slot), [_slot(number, now) for number in range(slots)])
            session.execute(insert(Job), [_job(number, now) for number in range(jobs)])
            for slot in range(FREE, slots):
                _make_busy(session, slot, jobs + slot, now)
        yield database
        database.close()


def _slot(number: int, now: datetime) -> dict[str, object]:
    host, name = f"lab{number // 8}", f"g{number % 8}"
    return {
        "id": f"{host}.{name}", "host": host, "name": name, "kind": SlotKind.CARD_GROUP, "worker": "w",
        "heartbeat_at": now + timedelta(hours=1), "labels": {"rack": "ab"[number % 2]},
    }  # fmt: skip


def _job(number: int, now: datetime) -> dict[str, object]:
    return {
        "name": "job", "kind": "infer", "project": PROJECTS[number % 4], "spec": {}, "request": {}, "release": "r",
        "slot_kind": SlotKind.CARD_GROUP, "demand": _demand(number).key(), "priority": (1, 5, 9)[number // 28 % 3],
        "state": JobState.QUEUED, "run_seconds": _demand(number).limit, "silence_seconds": 60,
        "log_bytes": 1, "tool_retries": 0,
        "created_at": now, "queued_at": now,
    }  # fmt: skip


def _make_busy(session: Session, slot: int, job: int, now: datetime) -> None:
    """A job that the slot works on."""
    on = _slot(slot, now)["id"]
    running = {"id": job, **_job(job, now), "state": JobState.RUNNING, "started_at": now}
    attempt = {
        "id": job, "job_id": job, "number": 1, "slot_id": on, "slot_ids": [on], "state": AttemptState.RUNNING,
        "assigned_at": now, "rung_at": now, "started_at": now, "log_bytes": 0,
    }  # fmt: skip
    lease = {"slot_id": on, "attempt_id": job, "expires_at": now + LEASE}
    for table, row in ((Job, running), (Attempt, attempt), (Lease, lease)):
        session.execute(insert(table), row)


def _demand(number: int) -> Demand:
    return Demand.parse(DEMANDS[number // 4 % len(DEMANDS)])


def turn(database: Database, slots: int) -> None:
    """What one turn does with the queue, not kept."""
    try:
        with database.write() as session:
            now = database.now(session)
            assert queue.placeable(queue.classes(session), queue.supply(session, now, LEASE))
            bells = place_queued(session, now=now, lease=LEASE, lost_after=LEASE)
            free = min(slots, FREE)
            assert free / 2 <= len(bells) <= free
            assert not queue.supply(session, now, LEASE).free
            raise Undone
    except Undone:
        pass


def in_turns(rounds: int, calls: dict[int, Callable[[], object]]) -> dict[int, float]:
    """Seconds of the median call of each, taken in turns after one of each to warm up: the machine is never quiet."""
    taken: dict[int, list[float]] = {key: [] for key in calls}
    for _ in range(rounds + 1):
        for key, call in calls.items():
            began = time.process_time()
            call()
            taken[key].append(time.process_time() - began)
    return {key: statistics.median(seconds[1:]) for key, seconds in taken.items()}


def pure(slots: int, jobs: int, *, gathering: bool) -> Callable[[], object]:
    """The pure function on so many slots and candidates; if gangs gather, the first of every host is busy."""
    every = [
        FreeSlot(f"lab{number // 8}.g{number % 8}", SlotName.parse(f"g{number % 8}"), frozenset({"rack=a"}))
        for number in range(slots)
    ]
    now = datetime.now(UTC)
    busy = [BusySlot(slot, now + timedelta(seconds=600)) for slot in every if gathering and slot.name.index == 0]
    candidates = [
        Candidate(
            number, _demand(number), number // 28 % 9, project=PROJECTS[number % 4], kcore="k",
            run_limit=timedelta(seconds=_demand(number).limit or 0),
        )
        for number in range(jobs)
    ]  # fmt: skip
    candidates += [Candidate(jobs + host, Demand.parse("card_group x8"), 9) for host in range(len(busy))]
    supply = Supply(now, [slot for slot in every if not gathering or slot.name.index], busy)
    shares = {name: Share(100.0 * number) for number, name in enumerate(PROJECTS)}
    return lambda: place(candidates, supply, shares)


def main() -> None:
    """Measure and print."""
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 21
    for slots in SLOTS:
        with ExitStack() as opened:
            queues = {jobs: opened.enter_context(queue_of(jobs, slots)) for jobs in QUEUES}
            taken = in_turns(rounds, {jobs: partial(turn, queues[jobs], slots) for jobs in QUEUES})
        for jobs, seconds in taken.items():
            print(f"{slots:5} slots, {jobs:7} queued: turn {seconds * 1000:8.1f} ms   n {rounds}")
        print(f"{slots:5} slots: growth {taken[QUEUES[-1]] / taken[QUEUES[0]]:.2f}", flush=True)
    for gathering in (False, True):
        taken = in_turns(rounds, {jobs: pure(1_024, jobs, gathering=gathering) for jobs in (1_024, 10_240)})
        how = "gangs gather" if gathering else "all free"
        for jobs, seconds in taken.items():
            print(f" 1024 slots, {how}, {jobs:6} candidates: place() {seconds * 1000:8.1f} ms   n {rounds}")


if __name__ == "__main__":
    main()
