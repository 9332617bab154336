"""Suites at a desk: a host with card groups, whose runs are placed by real turns and measure what a test says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select

from builders.desk import Desk
from builders.lifecycle import LEASE, a_slot, claim, ending, now, owner_of
from orchestrator.comparisons.sides import side_of
from orchestrator.dispatcher.turn import take_turn
from orchestrator.jobs import lifecycle, results
from orchestrator.model.failures import Failure
from orchestrator.model.states import AttemptState
from orchestrator.model.suites import SuiteDocument
from orchestrator.results.answers import CheckedAnswer, GivenAnswer
from orchestrator.results.metrics import Measured
from orchestrator.storage.tables import Attempt, Job, SuiteRun
from orchestrator.suites import baselines, runs
from orchestrator.suites.definitions import Definitions
from orchestrator.suites.judging import Judge
from orchestrator.suites.runs import RunOrigin, SuiteRuns

MAKES = {"quantize": "gm", "convert": "c_source", "compile": "kcore"}


@dataclass(frozen=True)
class Outcome:
    """What one inference measures."""

    throughput: float = 100.0
    answer: str = "四"
    failure: Failure | None = None


World = Callable[[Job, str], Outcome]
"""From a job and the slot it runs on to what it measures."""


@dataclass
class SuiteDesk:
    """A host `lab1` with card groups and a CPU seat."""

    desk: Desk
    groups: int = 2
    world: World = lambda _job, _slot: Outcome()
    _measured: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        with self.desk.database.write() as session:
            for name in ("cpu0", *(f"g{number}" for number in range(self.groups))):
                a_slot(session, name)
        self.runs = SuiteRuns(self.desk.settings, self.desk.database, self.desk.store)
        self.judge = Judge(self.desk.database, self.runs)

    def document(self, **facts: Any) -> SuiteDocument:
        """A suite of one cell with an existing kernel image, unless the facts say otherwise."""
        kcore = {} if "backend_types" in facts.get("matrix", {}) else {"template": {"kcore": self.desk.stored("kcore")}}
        matrix = {"models": ["qwen"], "prompts": {"basic": {"prompts": self.desk.file()}}, **facts.pop("matrix", {})}
        return SuiteDocument.model_validate({"name": "nightly", "matrix": matrix, **kcore, **facts})

    def apply(self, **facts: Any) -> SuiteDocument:
        document = self.document(**facts)
        definitions = Definitions(self.desk.settings, self.desk.database, self.desk.store)
        return SuiteDocument.model_validate(definitions.apply(document, by="alice").document)

    def start(self, name: str = "nightly", origin: RunOrigin | None = None) -> int:
        made = self.runs.start(name, origin or RunOrigin("alice"))
        with self.desk.database.read() as session:
            return runs.run_of_batch(session, made.batch or 0).id

    def run(self, name: str = "nightly") -> SuiteRun:
        """Start a run and carry it to its end."""
        run_id = self.start(name)
        self.work()
        return self.row(run_id)

    def row(self, run_id: int) -> SuiteRun:
        with self.desk.database.read() as session:
            return session.get_one(SuiteRun, run_id)

    def jobs(self, run_id: int) -> list[runs.JobOfRun]:
        with self.desk.database.read() as session:
            return runs.jobs_of_run(session, run_id)

    def accept(self, run_id: int) -> None:
        """Make what the run has measured the baselines of its cells."""
        found: dict[str, list[int]] = {}
        for each in self.jobs(run_id):
            found.setdefault(each.cell, []).append(each.job.id)
        with self.desk.database.write() as session:
            for cell, numbers in found.items():
                side = side_of(session, cell, numbers)
                suite = session.get_one(SuiteRun, run_id).suite
                baselines.set_baseline(session, suite, cell, side, numbers, by="alice", reason="good", now=now())

    def work(self) -> None:
        """Place, run and judge until nothing more happens."""
        while self.turn() + self.judge.tend():
            pass

    def turn(self) -> int:
        """One turn, and every job that it has placed; how many."""
        take_turn(self.desk.database, self.desk.store, lease=LEASE, lost_after=LEASE)
        with self.desk.database.read() as session:
            placed = session.scalars(select(Attempt.id).where(Attempt.state == AttemptState.ASSIGNED)).all()
        for attempt_id in placed:
            self._execute(attempt_id)
        return len(placed)

    def _execute(self, attempt_id: int) -> None:
        with self.desk.database.write() as session:
            attempt = session.get_one(Attempt, attempt_id)
            job = session.get_one(Job, attempt.job_id)
            claim(session, attempt)
            found = Outcome() if job.kind in MAKES else self.world(job, attempt.slot_id)
            lifecycle.finish(
                session, attempt_id, ending(found.failure), owner=owner_of(session, attempt_id), now=now(),
                max_attempts=1,
            )  # fmt: skip
            if job.kind in MAKES:
                self._build(session, job, attempt_id)
            elif found.failure is None:
                _measure(session, attempt_id, found)

    def _build(self, session: Any, job: Job, attempt_id: int) -> None:
        made, stored = MAKES[job.kind], self.desk.store.put_bytes(f"output of {job.spec} {job.release}".encode())
        output = {"name": made, "digest": stored.digest, "tree": False, "file_name": made, "size": stored.size}
        lifecycle.add_outputs(session, attempt_id, [output], now=now())


def _measure(session: Any, attempt_id: int, found: Outcome) -> None:
    number = Measured("output_throughput", found.throughput, "tokens/s", "output_throughput/1", 1)
    results.add_metrics(session, attempt_id, [number])
    given = GivenAnswer(0, 0, "二加二", found.answer)
    results.add_answers(session, attempt_id, [CheckedAnswer(given, None, None)])


def by_slot(outcomes: Mapping[str, Outcome], others: Outcome | None = None) -> World:
    """A world in which some slots measure something else."""
    return lambda _job, slot: outcomes.get(slot, others or Outcome())
