"""The report of a batch: its progress, failed jobs, faults of the infrastructure, and a comparison of its slots.

Every part is one SELECT over the whole batch. All functions read in the caller's session and change nothing.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, Text, case, func, select
from sqlalchemy.orm import Session

from orchestrator.batches.agreement import agreement_of
from orchestrator.batches.device_time import device_times
from orchestrator.batches.lifecycle import last_slot
from orchestrator.batches.speed import odd_by_numbers
from orchestrator.errors import NotFound
from orchestrator.jobs.queries import GroupFilter
from orchestrator.model.batch_report import DeviceTime, FailedJob, OddGroup, SlotLine
from orchestrator.model.batches import BatchState, batch_state
from orchestrator.model.failures import WITH_RESULTS, Failure, FailureKind, Suspicion
from orchestrator.model.slots import cards_of
from orchestrator.model.states import AttemptState, JobState
from orchestrator.model.verdicts import Verdict
from orchestrator.results.majority import Agreement, OddSlot
from orchestrator.results.metrics import LEAST_FOR_P95, percentile
from orchestrator.storage.tables import Answer, Attempt, Batch, Doubt, Job, Metric

MOST_LISTED = 20
"""Failures and faults that a report lists one by one."""


@dataclass(frozen=True)
class BatchFacts:
    """A batch, and the number of its jobs in each state."""

    batch: Batch
    counts: Counter[JobState] = field(default_factory=Counter)

    @property
    def state(self) -> BatchState:
        """For all its jobs together."""
        row = self.batch
        return batch_state(self.counts, sealed=row.sealed_at is not None, stopped=row.stop is not None)


@dataclass(frozen=True)
class Fault:
    """An attempt that ended with a fault of the infrastructure, or that left its slot suspect."""

    job_id: int
    name: str
    attempt: int
    """Its number in the job, from 1."""
    slot_ids: Sequence[str]
    reason: str
    signature: str | None
    quarantined: bool

    @property
    def slot_id(self) -> str:
        """The slot whose worker ran it."""
        return self.slot_ids[0]


@dataclass(frozen=True)
class BatchReport:
    """The full report of a batch."""

    facts: BatchFacts
    failures: Mapping[str, int]
    """Failed jobs by kind; those that ended by a fault are not among them."""
    faults: int
    doubtful: int
    """Jobs whose results are in doubt."""
    slots: Sequence[SlotLine]
    odd_groups: Sequence[OddGroup]
    device_times: Sequence[DeviceTime]
    agreement: Agreement
    first_failures: Sequence[FailedJob]
    first_faults: Sequence[Fault]


# ── lists ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def batches(session: Session, chosen: GroupFilter, *, limit: int, before: int | None = None) -> list[BatchFacts]:
    """Batches with numbers below `before`, newest first."""
    found = chosen.narrow(select(Batch), Batch).order_by(Batch.id.desc()).limit(limit)
    if before is not None:
        found = found.where(Batch.id < before)
    return _counted(session, session.scalars(found).all())


def batch(session: Session, batch_id: int) -> BatchFacts:
    """One batch; NotFound if there is none."""
    row = session.get(Batch, batch_id)
    if row is None:
        raise NotFound(f"there is no batch {batch_id}", batch=batch_id)
    return _counted(session, [row])[0]


def _counted(session: Session, rows: Sequence[Batch]) -> list[BatchFacts]:
    facts = {row.id: BatchFacts(row) for row in rows}
    counted = (
        select(Job.batch_id, Job.state, func.count()).where(Job.batch_id.in_(facts)).group_by(Job.batch_id, Job.state)
    )
    for batch_id, state, count in session.execute(counted):
        if batch_id is not None:
            facts[batch_id].counts[state] = count
    return list(facts.values())


# ── the report ────────────────────────────────────────────────────────────────────────────────────────────────────────


def report(session: Session, batch_id: int) -> BatchReport:
    """Everything about a batch; NotFound if there is none."""
    facts = batch(session, batch_id)
    kinds = _failures_by_kind(session, batch_id)
    faults = _faults(session, batch_id)
    compared = agreement_of(session, batch_id)
    slots = _slots(session, batch_id, faults, compared.odd)
    return BatchReport(
        facts=facts,
        failures={kind: count for kind, count in sorted(kinds.items()) if kind != FailureKind.FAULT},
        faults=len(faults),
        doubtful=_doubtful(session, batch_id),
        slots=slots,
        odd_groups=[*_odd_by_answers(compared), *odd_by_numbers(session, batch_id)],
        device_times=device_times(session, batch_id, [line.slot_id for line in slots]),
        agreement=compared,
        first_failures=_first_failures(session, batch_id),
        first_faults=faults[:MOST_LISTED],
    )


@dataclass(frozen=True)
class JobLine:
    """One job of a batch; its seconds are those from its first start to its end."""

    job_id: int
    name: str
    state: JobState
    failure: Failure | None
    slot_id: str | None
    seconds: float
    faults: Sequence[Fault] = ()
    """Those of all its attempts, also of attempts after which it was tried again."""
    attempts: int = 0

    @property
    def reruns(self) -> Sequence[Fault]:
        """The faults after which it was tried again."""
        return [fault for fault in self.faults if fault.attempt < self.attempts]


def job_lines(session: Session, batch_id: int) -> Iterator[JobLine]:
    """Every job of a batch, in the order of their numbers."""
    faults = defaultdict[int, list[Fault]](list)
    for fault in _faults(session, batch_id):
        faults[fault.job_id].append(fault)
    tried = select(func.count()).where(Attempt.job_id == Job.id).scalar_subquery()
    rows = (
        select(Job.id, Job.name, Job.state, Job.failure, last_slot(), Job.started_at, Job.ended_at, tried)
        .where(Job.batch_id == batch_id)
        .order_by(Job.id)
    )
    for job_id, name, state, told, slot_id, started_at, ended_at, attempts in session.execute(rows):
        failure = None if told is None else Failure.model_validate(told)
        seconds = (ended_at - started_at).total_seconds() if started_at and ended_at else 0.0
        yield JobLine(job_id, name, state, failure, slot_id, seconds, tuple(faults.get(job_id, ())), attempts)


def _failures_by_kind(session: Session, batch_id: int) -> dict[str, int]:
    kind = Job.failure["kind"].as_string()
    failed = select(kind, func.count()).where(Job.batch_id == batch_id, Job.state == JobState.FAILED).group_by(kind)
    return {found: count for found, count in session.execute(failed) if found}


def _first_failures(session: Session, batch_id: int) -> list[FailedJob]:
    failed = (
        select(Job.id, Job.name, last_slot(), Job.failure)
        .where(Job.batch_id == batch_id, Job.state == JobState.FAILED, Job.failure.is_not(None))
        .order_by(Job.ended_at, Job.id)
        .limit(MOST_LISTED)
    )
    rows = [(job_id, name, slot, Failure.model_validate(told)) for job_id, name, slot, told in session.execute(failed)]
    return [FailedJob(job_id, name, slot, failure.kind, failure.reason) for job_id, name, slot, failure in rows]


def _doubtful(session: Session, batch_id: int) -> int:
    doubted = select(func.count(Job.id.distinct())).join(Attempt, Attempt.job_id == Job.id)
    doubted = doubted.join(Doubt, Doubt.attempt_id == Attempt.id)
    return session.scalar(doubted.where(Job.batch_id == batch_id, Doubt.lifted.is_(None))) or 0


def _faults(session: Session, batch_id: int) -> list[Fault]:
    """One for each attempt: jobs skipped or failed because of it are not counted again."""
    spoiled = Attempt.failure["kind"].as_string() == FailureKind.FAULT
    found = (
        select(Job.id, Job.name, Attempt.number, Attempt.slot_ids, Attempt.failure, Attempt.suspicion)
        .join(Attempt, Attempt.job_id == Job.id)
        .where(Job.batch_id == batch_id, Attempt.started_at.is_not(None), spoiled | Attempt.suspicion.is_not(None))
        .order_by(Attempt.ended_at, Attempt.id)
    )
    return [_fault(*row) for row in session.execute(found)]


def _fault(job_id: int, name: str, number: int, slot_ids: Sequence[str], failure: Any, suspicion: Any) -> Fault:
    told = Suspicion.model_validate(suspicion) if suspicion is not None else Failure.model_validate(failure)
    return Fault(job_id, name, number, slot_ids, told.reason, told.signature, suspicion is not None)


# ── slots ─────────────────────────────────────────────────────────────────────────────────────────────────────────────


def _slots(session: Session, batch_id: int, faults: Sequence[Fault], odd: Sequence[OddSlot]) -> list[SlotLine]:
    """An attempt on several slots counts for each of them, except for its answers."""
    jobs, failures = defaultdict[str, set[int]](set), Counter[str]()
    seconds = defaultdict[str, list[float]](list)
    for slot_ids, job_id, state, kind, took in session.execute(_attempts(batch_id)):
        for slot_id in slot_ids:
            jobs[slot_id].add(job_id)
            failures[slot_id] += state is AttemptState.FAILED and kind != FailureKind.FAULT
            if (state is AttemptState.SUCCEEDED or kind in WITH_RESULTS) and took is not None:
                seconds[slot_id].append(took)
    exact = _exact_answers(session, batch_id)
    odd_prompts = {each.slot_id: each.prompts for each in odd}
    return [
        SlotLine(
            slot_id=slot_id,
            jobs=len(jobs[slot_id]),
            failures=failures[slot_id],
            faults=sum(slot_id in fault.slot_ids for fault in faults),
            seconds_p50=percentile(taken, 50) if taken else None,
            seconds_p95=percentile(taken, 95) if len(taken) >= LEAST_FOR_P95 else None,
            seconds_max=max(taken, default=None),
            exact=exact[slot_id][0] if slot_id in exact else None,
            compared=exact[slot_id][1] if slot_id in exact else None,
            odd_prompts=odd_prompts.get(slot_id, 0),
        )
        for slot_id in sorted(jobs)
        for taken in [seconds[slot_id]]
    ]


def _odd_by_answers(compared: Agreement) -> list[OddGroup]:
    return [
        OddGroup(
            each.slot_id, cards_of(each.slot_id), "answers", Verdict.WORSE,
            f"differs from the majority on {each.prompts} of {compared.prompts} prompts",
        )
        for each in compared.odd
    ]  # fmt: skip


def _exact_answers(session: Session, batch_id: int) -> dict[str, tuple[int, int]]:
    """For each compared slot: the number of answers equal to the golden ones, and the number compared."""
    of_one = [(slot_id, round(exact), compared) for slot_id, exact, compared in session.execute(_exact(batch_id))]
    of_gangs = [
        (slot_ids[batch], exact, compared)
        for slot_ids, batch, exact, compared in session.execute(_exact_of_gangs(batch_id))
    ]
    found: dict[str, tuple[int, int]] = {}
    for slot_id, exact, compared in of_one + of_gangs:
        known = found.get(slot_id, (0, 0))
        found[slot_id] = known[0] + exact, known[1] + compared
    return found


def _attempts(batch_id: int) -> Select[Any]:
    return (
        select(Attempt.slot_ids, Job.id, Attempt.state, Attempt.failure["kind"].as_string(), Attempt.seconds)
        .join(Job, Job.id == Attempt.job_id)
        .where(Job.batch_id == batch_id, Attempt.started_at.is_not(None))
    )


_EXACT = func.sum(case((Answer.exact.is_(True), 1), else_=0))

_GANG = Attempt.slot_ids.cast(Text).contains(",")
"""An attempt on several slots: a list of more than one name."""


def _exact(batch_id: int) -> Select[str, float, int]:
    """For attempts on one slot, from the metric that was stored with the answers: counting here would read all of
    them."""
    return (
        select(Attempt.slot_id, func.sum(Metric.value), func.sum(Metric.count))
        .join(Job, Job.id == Attempt.job_id)
        .join(Metric, (Metric.attempt_id == Attempt.id) & (Metric.name == "exact_answers"))
        .where(Job.batch_id == batch_id, ~_GANG)
        .group_by(Attempt.slot_id)
    )


def _exact_of_gangs(batch_id: int) -> Select[Any]:
    """For attempts on several slots, whose metric is one count for all slots: each attempt's answers by batch."""
    counted = (
        select(Answer.attempt_id, Answer.batch, _EXACT.label("exact"), func.count(Answer.exact).label("compared"))
        .join(Attempt, Attempt.id == Answer.attempt_id)
        .join(Job, Job.id == Attempt.job_id)
        .where(Job.batch_id == batch_id, _GANG, Answer.exact.is_not(None))
        .group_by(Answer.attempt_id, Answer.batch)
        .subquery()
    )
    found = select(Attempt.slot_ids, counted.c.batch, counted.c.exact, counted.c.compared)
    return found.join(counted, counted.c.attempt_id == Attempt.id)
