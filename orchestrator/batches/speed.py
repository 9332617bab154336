"""Which slots of a batch measured other values than the rest, among runs that may be compared."""

from collections import defaultdict
from typing import Any

from sqlalchemy import Text, select
from sqlalchemy.orm import Session, aliased

from orchestrator.batches.agreement import asked_alike
from orchestrator.jobs.results import MEASURED
from orchestrator.model.batch_report import OddGroup
from orchestrator.model.slots import cards_of
from orchestrator.results.outliers import odd_groups
from orchestrator.results.sides import direction_of
from orchestrator.results.verdicts import MetricGate
from orchestrator.storage.tables import Attempt, Job, JobInput, Metric

COMPARED = ("output_throughput", "request_seconds_p50", "ttft_seconds_p50")
"""Metrics by which card groups are compared: rate and latencies."""


def odd_by_numbers(session: Session, batch_id: int) -> list[OddGroup]:
    """Odd card groups by each metric, the surest first; attempts on several slots are left out: their numbers are of
    all slots together."""
    measured: dict[tuple[Any, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    kcore, prompts = aliased(JobInput), aliased(JobInput)
    same = (Metric.name, Metric.definition, Job.kind, *asked_alike(kcore, prompts))
    rows = (
        select(Attempt.slot_id, Metric.value, *same)
        .join(Attempt, Attempt.id == Metric.attempt_id)
        .join(Job, Job.id == Attempt.job_id)
        .outerjoin(kcore, (kcore.job_id == Job.id) & (kcore.name == "kcore"))
        .outerjoin(prompts, (prompts.job_id == Job.id) & (prompts.name == "prompts"))
        .where(Job.batch_id == batch_id, Metric.name.in_(COMPARED), MEASURED)
        .where(~Attempt.slot_ids.cast(Text).contains(","))
        .order_by(Attempt.id)
    )
    for slot_id, value, *key in session.execute(rows):
        measured[tuple(key)][slot_id].append(value)
    found = [
        odd
        for (name, *_), samples in measured.items()
        for odd in odd_groups(name, samples, MetricGate(direction_of(name)), {slot: cards_of(slot) for slot in samples})
    ]
    return sorted(found, key=lambda odd: (odd.p_value or 0.0, odd.slot_id))
