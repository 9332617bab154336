"""How long comparisons take: `python -m benchmarks compare [--rounds N] [--database postgresql]`.

Ten runs of 5,000 prompts, of which each run but the first answers 50 otherwise, are compared
with the first: subjects found, answers read and aligned, ten metrics judged. Then two runs of 10,000 answers: one of
them changed, and all of them changed; and the page of 100 changed prompts with similarity, chrF and BLEU. Answers have
600 characters, a quarter of them Chinese. Processor time (of this process: SQLite runs in it, PostgreSQL does not) and
wall time are medians; memory is the peak that Python allocates in one comparison.
"""

import argparse
import statistics
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from alembic import command
from postgres import running_postgres
from sqlalchemy import insert

from migrations.__main__ import config
from orchestrator.comparisons.sides import series_of
from orchestrator.comparisons.subjects import resolve
from orchestrator.model.demand import Demand
from orchestrator.model.slots import SlotKind, SlotName
from orchestrator.model.states import AttemptState, JobState
from orchestrator.results.reports import SidesReport, prompts, report
from orchestrator.results.series import SeriesSides
from orchestrator.results.sides import Rules
from orchestrator.settings import url_of_sqlite
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Answer, Attempt, Job, Metric, Release, Slot

METRICS = ("output_throughput", "ttft_seconds_p50", "ttft_seconds_max", "tpot_seconds_p50", "request_seconds_p50",
           "request_seconds_max", "request_seconds_p90", "answers", "prompt_tokens", "output_tokens")  # fmt: skip
TEXT = "清华微电子的算力卡 answers in two languages. " * 20


@contextmanager
def empty(kind: str) -> Iterator[str]:
    """The URL of a new database of this kind."""
    if kind == "postgresql":
        with running_postgres() as socket:
            yield f"postgresql+psycopg://postgres@/postgres?host={socket}"
        return
    with tempfile.TemporaryDirectory(prefix="tx81-bench-") as folder:
        yield url_of_sqlite(Path(folder) / "tx81.db")


@contextmanager
def runs_of(kind: str, runs: int, prompts: int, changed: int) -> Iterator[Database]:
    """A database with this number of runs and prompts; each run but the first answers `changed` prompts otherwise."""
    with empty(kind) as url:
        command.upgrade(config(url), "head")
        database = Database(url)
        try:
            for run in range(1, runs + 1):
                _write(database, run, prompts, changed if run > 1 else 0)
            yield database
        finally:
            database.close()


def _write(database: Database, run: int, prompts: int, changed: int) -> None:
    now = datetime.now(UTC)
    slot = f"lab1.g{run % 8}"
    with database.write() as session:
        if run == 1:
            session.add(Release(name="r1", profile={}, root="/", digest="sha256:r", is_default=True, created_at=now))
            session.flush()
        if session.get(Slot, slot) is None:
            name = SlotName.parse(slot.rpartition(".")[2])
            session.add(Slot(id=slot, host="lab1", name=str(name), kind=SlotKind.CARD_GROUP))
        spec = {"kind": "infer", "model": "qwen", "repeats": 1, "max_tokens": 1024, "groups": 1}
        session.add(
            Job(
                id=run, name=f"run{run}", kind="infer", project="default", spec=spec, request={"spec": spec},
                release="r1", slot_kind=SlotKind.CARD_GROUP, demand=Demand(SlotKind.CARD_GROUP).key(), priority=5,
                state=JobState.SUCCEEDED, run_seconds=60, silence_seconds=60, log_bytes=1, tool_retries=0,
                created_at=now,
            )
        )  # fmt: skip
        session.flush()
        session.add(
            Attempt(
                id=run, job_id=run, number=1, slot_id=slot, slot_ids=[slot], state=AttemptState.SUCCEEDED,
                assigned_at=now, answers_digest=f"sha256:{run}",
            )
        )  # fmt: skip
        session.flush()
        for place, name in enumerate(METRICS):
            value = 100.0 + place + run / 10
            session.add(Metric(attempt_id=run, name=name, value=value, unit="u", definition=name, count=prompts))
        step = prompts // changed if changed else 0
        rows = [
            {
                "attempt_id": run, "repeat": 1, "index": index, "batch": 0, "question": f"question {index} 是什么？",
                "text": f"{index} {TEXT}"[:600 - 10] + (f" run {run}" if step and index % step == 0 else ""),
                "exact": True,
            }
            for index in range(prompts)
        ]  # fmt: skip
        session.execute(insert(Answer), rows)


def judged(database: Database, runs: int) -> tuple[SidesReport, list[SeriesSides]]:
    """All runs compared with the first."""
    with database.read() as session:
        subjects = resolve(session, [f"job:{run}" for run in range(1, runs + 1)])
        series = series_of(session, {subject.label: subject.job_ids for subject in subjects}, Rules())
    return report(series, Rules()), series


def measured(call: Callable[[], object], rounds: int) -> str:
    """Median processor and wall time of a call, and the peak of allocated memory of one more."""
    call()
    processor, wall = [], []
    for _ in range(rounds):
        began, started = time.process_time(), time.perf_counter()
        call()
        processor.append(time.process_time() - began)
        wall.append(time.perf_counter() - started)
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    seconds = statistics.median(processor), statistics.median(wall)
    return (
        f"{seconds[0] * 1000:6.0f} ms of processor, {seconds[1] * 1000:6.0f} ms, "
        f"peak {peak / (1 << 20):4.0f} MiB   n {rounds}"
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks compare")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    asked = parser.parse_args()
    rounds = asked.rounds
    for runs, count, changed in ((10, 5_000, 50), (2, 10_000, 1), (2, 10_000, 10_000)):
        with runs_of(asked.database, runs, count, changed) as database:
            found, series = judged(database, runs)
            assert {each.found.answers.pairs.changed for each in found.comparisons if each.found.answers} == {changed}
            told = measured(lambda: judged(database, runs), rounds)  # noqa: B023  # called here
            print(f"{runs:3} runs of {count:6} answers, {changed:6} changed: {told}", flush=True)
    told = measured(lambda: prompts(found, series, "changed", limit=100), max(1, rounds // 3))
    print(f"    page of 100 changed prompts:           {told}")


if __name__ == "__main__":
    main()
