"""What one short attempt costs inside its worker process: `python -m benchmarks attempt [--jobs N]`.

No broker, no dispatcher and no API: this process owns a slot and calls `execute`, one attempt after the other, as its
worker would after each bell. The jobs are those of `throughput`. Beside it are as many idle processes with as many open
files as on a host with eight workers, because a look at open cards costs what the whole host has open.

Only processor time is reported: that of this process during `execute`, and that of the shim with its tools.
"""

import argparse
import cProfile
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command

from benchmarks.short_jobs import HERE, LEDGER_LINE
from migrations.__main__ import config
from orchestrator.catalog.profile_files import load_profile
from orchestrator.catalog.weights import weights_of
from orchestrator.jobs import bulk, lifecycle
from orchestrator.model.profile import Profile
from orchestrator.model.slots import CARDS_PER_HOST, SlotKind, SlotName
from orchestrator.model.states import AttemptState, JobState
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Job, JobInput, Model, Release
from workers.attempt.ending import Ended
from workers.attempt.execution import execute
from workers.processes.process import StopSignal
from workers.slot import OwnedSlot, owned

BYSTANDERS, FILES_OF_EACH = 40, 50
"""Other processes of the host, and what each has open: as counted beside eight workers."""

_IDLE = "import sys; files = [open('/dev/null') for _ in range(int(sys.argv[1]))]; sys.stdin.read()"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks attempt")
    parser.add_argument("--jobs", type=int, default=300)
    parser.add_argument("--bystanders", type=int, default=BYSTANDERS)
    parser.add_argument("--profile", help="write cProfile's figures of the attempts to this file")
    asked = parser.parse_args()
    with (
        _bystanders(asked.bystanders),
        _installation() as (settings, database, store, inputs),
        owned(settings, database, SlotName.parse("g0")) as slot,
    ):
        run(slot, store, _assigned(slot, inputs, 20))
        print(told(slot, store, inputs, asked.jobs, profile=asked.profile))


def told(slot: OwnedSlot, store: ArtifactStore, inputs: dict[str, str], jobs: int, *, profile: str | None) -> str:
    """One line with the processor time of an attempt."""
    below = _seconds_of(slot.shim.pid)
    spent = run(slot, store, _assigned(slot, inputs, jobs), profile=profile)
    shim = (_seconds_of(slot.shim.pid) - below) / jobs * 1000
    worker = statistics.median(spent) * 1000
    return f"worker {worker:.2f} ms an attempt (mean {statistics.mean(spent) * 1000:.2f}), shim and tool {shim:.2f} ms"


def run(slot: OwnedSlot, store: ArtifactStore, attempts: Iterator[int], *, profile: str | None = None) -> list[float]:
    """Seconds of processor time that this process spent on each attempt."""
    spent, profiler = [], cProfile.Profile(time.thread_time)
    for attempt_id in attempts:
        began = time.process_time()
        if profile:
            profiler.enable()
        ended = execute(attempt_id, slot, store, StopSignal())
        if profile:
            profiler.disable()
        spent.append(time.process_time() - began)
        assert ended == Ended(AttemptState.SUCCEEDED), ended
    if profile:
        profiler.dump_stats(profile)
    return spent


def _assigned(slot: OwnedSlot, inputs: dict[str, str], jobs: int) -> Iterator[int]:
    """This number of attempts, each assigned when the one before has ended."""
    spec = {
        "kind": "infer", "model": "nothing", "kcore": {"digest": inputs["kcore"]},
        "prompts": {"digest": inputs["prompts"]}, "max_tokens": 1,
    }  # fmt: skip
    columns: dict[str, Any] = {
        "name": "job", "kind": "infer", "project": "default", "spec": spec, "request": {}, "release": "short",
        "slot_kind": SlotKind.CARD_GROUP, "demand": "", "priority": 5, "tool_retries": 0, "run_seconds": 60,
        "silence_seconds": 60, "log_bytes": 1 << 20,
    }  # fmt: skip
    database, settings = slot.database, slot.settings
    for _ in range(jobs):
        with database.write() as session:
            now = database.now(session)
            (job_id,) = bulk.create(session, [columns], now=now)
            row = session.get_one(Job, job_id)
            for name, digest in inputs.items():
                session.add(JobInput(job_id=job_id, name=name, digest=digest, file_name=name))
            lifecycle.queue(session, row, start=JobState.WAITING, now=now)
            wanted = [bulk.Allocation(job_id, [slot.id], "")]
            ((attempt_id, _),) = bulk.assign(session, wanted, now=now, lease=settings.lease)
        yield attempt_id


@contextmanager
def _installation() -> Iterator[tuple[Settings, Database, ArtifactStore, dict[str, str]]]:
    with tempfile.TemporaryDirectory(prefix="tx81-bench-") as name:
        folder = Path(name)
        program = folder / "tools" / "bin" / "answer"
        for made in (program.parent, folder / "cards", folder / "state"):
            made.mkdir(parents=True)
        subprocess.run(["gcc", "-O2", f"-DLINE={LEDGER_LINE}", "-o", program, HERE / "answer.c"], check=True)
        for card in range(CARDS_PER_HOST):
            (folder / "cards" / f"dev-{card}").touch()
        model = shutil.copytree(HERE.parent / "emulator" / "samples" / "tiny" / "model", folder / "model")
        settings = Settings(
            state_dir=folder / "state", host="bench", devices_dir=folder / "cards", allowed_roots=(folder,),
            profile_dirs=(HERE / "profiles",),
        )  # fmt: skip
        command.upgrade(config(settings.database), "head")
        database, store = Database(settings.database), ArtifactStore(settings.store)
        _register(settings, database, model, program.parents[1])
        (folder / "kcore").mkdir()
        (folder / "kcore" / "kcore.bin").write_text("\n")
        inputs = {"kcore": store.put_tree(folder / "kcore").digest, "prompts": store.put_bytes(b"?\n").digest}
        yield settings, database, store, inputs
        database.close()


def _register(settings: Settings, database: Database, model: Path, root: Path) -> None:
    profile: Profile = load_profile(settings, "short")
    found = weights_of(settings, model)
    config = json.loads((model / "config.json").read_text())
    with database.write() as session:
        now = database.now(session)
        session.add(Release(
            name="short", profile=profile.model_dump(mode="json"), root=str(root), digest="", is_default=True,
            created_at=now,
        ))  # fmt: skip
        session.add(Model(
            name="nothing", path=str(model), family="qwen2", official_config=config, tx81_config=config,
            digest=found.digest, stamp=found.stamp, weights=found.tensors, size=found.size, created_at=now,
        ))  # fmt: skip


@contextmanager
def _bystanders(count: int) -> Iterator[Sequence[int]]:
    argv = [sys.executable, "-S", "-E", "-I", "-c", _IDLE, str(FILES_OF_EACH)]
    started = [subprocess.Popen(argv, stdin=subprocess.PIPE) for _ in range(count)]
    try:
        yield [one.pid for one in started]
    finally:
        for one in started:
            one.communicate()


def _seconds_of(pid: int) -> float:
    """Processor time of a process and of its children that have ended."""
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:15]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
