"""The jobs of a batch as card group × round, and the different sets of answers that they gave.

The first job of a slot is in its first round, and so on: a batch made from a template submits its jobs round by round.
All functions read in the caller's session and change nothing.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.batches.agreement import sorts_of
from orchestrator.errors import NotFound
from orchestrator.model.batch_report import AnswerSet, MatrixCell, MatrixLine
from orchestrator.model.demand import Demand
from orchestrator.model.failures import FailureKind
from orchestrator.model.slots import SlotName
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Attempt, Batch, Job, Metric

MOST_CELLS = 600
"""Of one document: 8 card groups in 75 rounds, or 64 in 9."""

MOST_SLOTS = 100

MOST_SETS = 26
"""Sets of answers of one question that have a name."""

_NOT_BEGUN = frozenset({JobState.WAITING, JobState.QUEUED})


@dataclass
class _Placed:
    """A job of the batch with what its attempts say."""

    job_id: int
    state: JobState
    failure: str | None
    slot_id: str | None
    attempt_id: int | None = None
    digest: str | None = None
    suspect: bool = False
    faults: list[int] = field(default_factory=list)
    """Numbers of the attempts that the infrastructure spoiled."""
    attempts: int = 0


@dataclass(frozen=True)
class BatchMatrix:
    """The rounds from `first` to `last` of `rounds`, the worst card group first."""

    rounds: int
    first: int
    last: int
    lines: Sequence[MatrixLine]
    more_slots: int
    unplaced: int
    """Jobs in no round, because it is open where they will run."""
    answer_sets: Sequence[AnswerSet]
    more_sets: int


def matrix(session: Session, batch_id: int, first: int | None = None) -> BatchMatrix:
    """The rounds from `first` on, by default those up to the last one that has begun; NotFound if there is no batch."""
    if session.get(Batch, batch_id) is None:
        raise NotFound(f"there is no batch {batch_id}", batch=batch_id)
    jobs = _jobs(session, batch_id)
    by_slot = defaultdict[str, list[_Placed]](list)
    for job in jobs:
        if job.slot_id is not None:
            by_slot[job.slot_id].append(job)
    sets, names = _answer_sets(session, batch_id)
    rounds = max(map(len, by_slot.values()), default=0)
    shown = max(1, MOST_CELLS // max(1, min(len(by_slot), MOST_SLOTS)))
    first, last = _window(by_slot.values(), rounds, shown, first)
    ordered = sorted(by_slot, key=lambda slot: _worst_first(slot, by_slot[slot], names))
    cut = {slot: by_slot[slot][first - 1 : last] for slot in ordered[:MOST_SLOTS]}
    exact = _exact(session, [job.attempt_id for line in cut.values() for job in line if job.attempt_id is not None])
    return BatchMatrix(
        rounds=rounds, first=first, last=last,
        lines=tuple(_line(slot, by_slot[slot], line, last - first + 1, names, exact) for slot, line in cut.items()),
        more_slots=len(ordered) - len(cut), unplaced=len(jobs) - sum(map(len, by_slot.values())),
        answer_sets=tuple(sets[:MOST_SETS]), more_sets=max(0, len(sets) - MOST_SETS),
    )  # fmt: skip


def _window(lines: Iterable[Sequence[_Placed]], rounds: int, shown: int, first: int | None) -> tuple[int, int]:
    if first is None:
        begun = (len([job for job in line if job.state not in _NOT_BEGUN]) for line in lines)
        first = max(max(begun, default=0), shown) - shown + 1
    first = min(first, max(rounds, 1))
    return first, min(first + shown - 1, rounds)


def _jobs(session: Session, batch_id: int) -> list[_Placed]:
    rows = select(Job.id, Job.state, Job.failure["kind"].as_string(), Job.demand).where(Job.batch_id == batch_id)
    classes = session.scalars(select(Job.demand).where(Job.batch_id == batch_id).distinct())
    pinned = {demand: _pinned(demand) for demand in classes}
    found = {
        job_id: _Placed(job_id, state, failure, pinned[demand])
        for job_id, state, failure, demand in session.execute(rows.order_by(Job.id))
    }
    tried = (
        select(
            Attempt.job_id, Attempt.number, Attempt.id, Attempt.slot_id, Attempt.answers_digest,
            Attempt.failure["kind"].as_string(), Attempt.suspicion.is_not(None),
        )
        .join(Job, Job.id == Attempt.job_id)
        .where(Job.batch_id == batch_id)
        .order_by(Attempt.job_id, Attempt.number)
    )  # fmt: skip
    for job_id, number, attempt_id, slot_id, digest, failure, suspect in session.execute(tried):
        job = found[job_id]
        job.attempt_id, job.slot_id, job.digest, job.attempts = attempt_id, slot_id, digest, number
        job.suspect = job.suspect or suspect
        if failure == FailureKind.FAULT:
            job.faults.append(number)
    return list(found.values())


def _pinned(demand: str) -> str | None:
    """The slot on which jobs of this class will run; None if that is open."""
    only = Demand.parse(demand).only
    return only[0] if len(only) == 1 and "." in only[0] else None


def _answer_sets(session: Session, batch_id: int) -> tuple[list[AnswerSet], Mapping[str, str]]:
    """The sets by question, the most frequent first, and the name of each digest."""
    asked = defaultdict[tuple[Any, ...], dict[str, Counter[str]]](lambda: defaultdict(Counter))
    one_of: dict[str, int] = {}
    for slot_ids, digest, attempt_id, count, *same in session.execute(sorts_of(batch_id)):
        asked[tuple(same)][digest][json.loads(slot_ids)[0]] += count
        one_of.setdefault(digest, attempt_id)
    jobs = _jobs_of(session, one_of.values())
    sets, names = list[AnswerSet](), dict[str, str]()
    for question, given in enumerate(asked.values(), start=1):
        prefix = str(question) if len(asked) > 1 else ""
        ordered = sorted(given.items(), key=lambda each: -each[1].total())
        for place, (digest, slots) in enumerate(ordered):
            name = prefix + (chr(ord("A") + place) if place < MOST_SETS else "…")
            names[digest] = name
            sets.append(AnswerSet(name, slots.total(), dict(sorted(slots.items())), jobs[one_of[digest]]))
    return sets, names


def _jobs_of(session: Session, attempts: Iterable[int]) -> dict[int, int]:
    rows = session.execute(select(Attempt.id, Attempt.job_id).where(Attempt.id.in_(list(attempts))))
    return {attempt_id: job_id for attempt_id, job_id in rows}  # noqa: C416  # rows are no pairs to a type checker


def _worst_first(slot: str, jobs: Sequence[_Placed], names: Mapping[str, str]) -> tuple[Any, ...]:
    host, _, name = slot.rpartition(".")
    faults = sum(len(job.faults) for job in jobs)
    return -_failures(jobs), -_unlike(jobs, names), -faults, host, SlotName.parse(name).index


def _failures(jobs: Sequence[_Placed]) -> int:
    return sum(job.state is JobState.FAILED and job.failure != FailureKind.FAULT for job in jobs)


def _unlike(jobs: Sequence[_Placed], names: Mapping[str, str]) -> int:
    return sum(job.digest in names and not names[job.digest].endswith("A") for job in jobs if job.digest is not None)


def _line(
    slot: str, jobs: Sequence[_Placed], shown: Sequence[_Placed], rounds: int, names: Mapping[str, str],
    exact: Mapping[int, tuple[int, int]],
) -> MatrixLine:  # fmt: skip
    cells = [_cell(job, names, exact.get(job.attempt_id or 0)) for job in shown]
    return MatrixLine(
        slot_id=slot, jobs=len(jobs), failures=_failures(jobs), faults=sum(len(job.faults) for job in jobs),
        unlike=_unlike(jobs, names), suspicions=sum(job.suspect for job in jobs),
        cells=(*cells, *[None] * (rounds - len(cells))),
    )  # fmt: skip


def _cell(job: _Placed, names: Mapping[str, str], exact: tuple[int, int] | None) -> MatrixCell:
    return MatrixCell(
        job_id=job.job_id, state=job.state, failure=None if job.failure is None else FailureKind(job.failure),
        retried=sum(number < job.attempts for number in job.faults),
        answers=None if job.digest is None else names.get(job.digest), exact=exact and exact[0],
        compared=exact and exact[1], suspect=job.suspect,
    )  # fmt: skip


def _exact(session: Session, attempts: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Of these attempts: the number of answers equal to the golden ones, and the number compared."""
    counted = select(Metric.attempt_id, Metric.value, Metric.count)
    rows = session.execute(counted.where(Metric.name == "exact_answers", Metric.attempt_id.in_(attempts)))
    return {attempt_id: (round(value or 0), count) for attempt_id, value, count in rows}
