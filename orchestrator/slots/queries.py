"""The SELECTs on slots with their lease, attempt and job, for placement, API and CLI; and whether a dispatcher leads.

All functions read in the caller's session and change nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVarTuple

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from orchestrator.errors import NotFound
from orchestrator.model.broker_findings import BrokerFinding
from orchestrator.model.demand import Demand
from orchestrator.model.slots import node_name
from orchestrator.model.states import AttemptState, JobState
from orchestrator.model.windows import Window
from orchestrator.slots import reservations
from orchestrator.storage.tables import Attempt, Job, Leader, Lease, Slot

Ts = TypeVarTuple("Ts")


@dataclass(frozen=True)
class SlotFacts:
    """A slot, the job on it, the number of jobs that wait only for it, and its current or next reservation."""

    slot: Slot
    lease: Lease | None
    attempt: Attempt | None
    job: Job | None
    queued: int
    window: Window | None


def with_leases(slots: Select[*Ts]) -> Select[*Ts]:
    """A SELECT from slots, each with its lease, attempt and job, or nulls if it has none."""
    return (
        slots.select_from(Slot)
        .outerjoin(Lease, Lease.slot_id == Slot.id)
        .outerjoin(Attempt, Attempt.id == Lease.attempt_id)
        .outerjoin(Job, Job.id == Attempt.job_id)
    )


def longest_idle_first(slots: Select[*Ts]) -> Select[*Ts]:
    """In the order in which free slots are assigned, so that wear is distributed."""
    return slots.order_by(Slot.last_ended_at.asc().nulls_first(), Slot.id)


def slots(session: Session, slot_id: str | None = None, *, now: datetime) -> list[SlotFacts]:
    """All slots in the order of hosts and numbers, or the one called `slot_id`; NotFound if there is none."""
    found = with_leases(select(Slot, Lease, Attempt, Job))
    found = found.order_by(Slot.host, Slot.kind, func.length(Slot.name), Slot.name)
    if slot_id is not None:
        found = found.where(Slot.id == slot_id)
    classes, windows = _queued_classes(session), reservations.windows(session, now)
    rows = [
        SlotFacts(*row, sum(_pinned(classes, row[0]).values()), next(iter(windows.get(row[0].id, ())), None))
        for row in session.execute(found)
    ]
    if slot_id is not None and not rows:
        raise NotFound(f"there is no slot {slot_id}: slots are written HOST.g3; see: tx81 slots", slot=slot_id)
    return rows


def latest_attempts(session: Session, slot_id: str, limit: int) -> list[tuple[Attempt, Job]]:
    """The latest attempts on a slot that have ended, each with its job, newest first."""
    ended = select(Attempt, Job).join(Job, Job.id == Attempt.job_id).where(Attempt.slot_id == slot_id)
    latest = ended.where(Attempt.ended_at.is_not(None)).order_by(Attempt.ended_at.desc()).limit(limit)
    return [(attempt, job) for attempt, job in session.execute(latest)]


def pinned_demands(session: Session, slot: Slot) -> list[str]:
    """The demand classes of queued jobs that may only run on this slot."""
    return list(_pinned(_queued_classes(session), slot))


def dispatcher_alive(session: Session, now: datetime) -> bool:
    """Whether some dispatcher holds the leader's lease."""
    return session.scalar(select(Leader.role).where(Leader.expires_at > now).limit(1)) is not None


def broker_finding(session: Session, now: datetime) -> BrokerFinding:
    """What the leading dispatcher found of the broker last; an empty finding if none leads or none has looked."""
    return BrokerFinding.of(session.scalar(select(Leader.broker).where(Leader.expires_at > now).limit(1)))


def workers_by_node(session: Session, now: datetime, lost_after: timedelta) -> tuple[dict[str, str], set[str]]:
    """All slots by Celery's name of their workers, and those whose workers send heartbeats and are not deaf."""
    beats = and_(Slot.heartbeat_at.is_not(None), Slot.heartbeat_at > now - lost_after, Slot.deaf.is_(None))
    rows = session.execute(select(Slot.id, Slot.host, Slot.name, beats)).all()
    return {node_name(host, name): slot for slot, host, name, _ in rows}, {slot for slot, _, _, alive in rows if alive}


def bells_unheard(session: Session, now: datetime, lost_after: timedelta) -> int:
    """Number of attempts that live workers have not claimed after more than one doorbell."""
    unheard = (Attempt.state == AttemptState.ASSIGNED, Attempt.rung_at > Attempt.assigned_at)
    asked = select(func.count()).select_from(Attempt).join(Slot, Slot.id == Attempt.slot_id)
    return session.scalar(asked.where(*unheard, Slot.heartbeat_at > now - lost_after)) or 0


# ── shared steps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _queued_classes(session: Session) -> dict[str, int]:
    """Number of queued jobs of each demand class; there are few classes, however long the queue."""
    counted = select(Job.demand, func.count()).where(Job.state == JobState.QUEUED).group_by(Job.demand)
    return {demand: number for demand, number in session.execute(counted)}  # noqa: C416  # rows are no pairs to a type checker


def _pinned(classes: Mapping[str, int], slot: Slot) -> dict[str, int]:
    demands = {key: Demand.parse(key) for key in classes}
    return {key: classes[key] for key, demand in demands.items() if {slot.id, slot.name} & {*demand.only}}
