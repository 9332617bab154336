"""Whether a slot has a live worker: registered, alive by its heartbeats, deaf (receives no doorbells), stopped."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy import Row, select, update
from sqlalchemy.orm import Session

from orchestrator.catalog import retirement
from orchestrator.errors import SlotTaken
from orchestrator.jobs.lifecycle import withdraw
from orchestrator.model.lacks import Lack
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState
from orchestrator.storage.events import record
from orchestrator.storage.tables import Attempt, Lease, Slot


def announce(
    session: Session, *, host: str, name: SlotName, worker: str, pid: int, lock_domain: str, now: datetime,
    lost_after: timedelta, labels: Mapping[str, str] = MappingProxyType({}),
) -> list[int]:  # fmt: skip
    """Make `worker` the owner of a slot, creating the slot if it is new.

    The caller holds the slot's lock. In the lock domain of the earlier owner that proves it dead, however recent its
    last heartbeat; elsewhere the two see different locks, and SlotTaken is raised if the owner sent a heartbeat within
    `lost_after` or still runs an attempt. Returns the attempts that were left running: none of their processes is
    alive. One that only uses the slot's cards is not among them: the worker of its first slot runs it.
    """
    slot_id = f"{host}.{name}"
    slot = session.get(Slot, slot_id, with_for_update=True)
    if slot is None:
        session.add(Slot(id=slot_id, host=host, name=str(name), kind=name.kind))
        session.flush()
        slot = session.get_one(Slot, slot_id)
    elif slot.lock_domain != lock_domain:
        _refuse_while_owned(session, slot, worker, now, lost_after)
    slot.worker, slot.worker_pid, slot.heartbeat_at, slot.labels = worker, pid, now, dict(labels)
    slot.lock_domain, slot.lacks, slot.deaf = lock_domain, None, None
    retirement.back(session, host, now=now)
    record(session, "slot.announced", now, slot_id=slot_id, worker=worker, pid=pid)
    left = select(Attempt.id).where(Attempt.slot_id == slot_id, Attempt.state == AttemptState.RUNNING)
    return list(session.scalars(left))


@dataclass(frozen=True)
class Pulse:
    """What a worker gets back from its heartbeat."""

    distrusted: bool
    """Taken out of service with evidence, so that its cards are probed before it returns to service."""
    resume_requested: bool
    lacks_due: bool
    """Its host lacks something that has to be checked again (`orchestrator.slots.lacks`)."""
    deaf: bool
    """It does not receive its doorbells: it gets no work until its worker has restarted."""


def beat(session: Session, slot_id: str, *, worker: str, now: datetime, hears: bool = True) -> Pulse:
    """Record a heartbeat of the slot's worker; SlotTaken if the slot now belongs to another worker.

    A worker that does not receive doorbells only reads: it must not look alive."""
    beats = {"heartbeat_at": now if hears else Slot.heartbeat_at}
    mine = update(Slot).where(Slot.id == slot_id, Slot.worker == worker).values(beats)
    row = session.execute(
        mine.returning(Slot.quarantined_because, Slot.resume_requested, Slot.lacks, Slot.deaf)
    ).one_or_none()
    if row is None:
        raise SlotTaken(f"{slot_id} belongs to another worker now")
    due = any(Lack.of(name, stored).is_due(now) for name, stored in (row.lacks or {}).items())
    return Pulse(row.quarantined_because is not None, row.resume_requested is not None, due, row.deaf is not None)


def deafen(session: Session, attempt_id: int, *, now: datetime, lost_after: timedelta) -> bool:
    """Withdraw an attempt whose doorbells were not received, and place nothing on its slot until its worker restarts.

    False, and no change, if the attempt was claimed or has ended, or if its worker sends no heartbeats either: then
    nothing is placed there anyway. The caller holds the admission lock, so that no turn uses the slot meanwhile.
    """
    attempt = session.get_one(Attempt, attempt_id)
    beats = select(Slot.id).where(Slot.id == attempt.slot_id, Slot.heartbeat_at > now - lost_after)
    why = f"the worker of {attempt.slot_id} does not receive its doorbells"
    if session.scalar(beats) is None or not withdraw(session, attempt_id, now=now, why=why):
        return False
    deaf = {"reason": why, "attempt_id": attempt_id, "at": now.isoformat()}
    session.execute(update(Slot).where(Slot.id == attempt.slot_id).values(deaf=deaf))
    record(session, "slot.deaf", now, job_id=attempt.job_id, attempt_id=attempt_id, slot_id=attempt.slot_id, why=why)
    return True


def user_of(session: Session, slot_id: str) -> Row[int, int] | None:
    """Attempt and job (`id`, `job_id`) that run on the slot, led by this slot or by another slot of its gang: it may
    use the cards."""
    running = select(Attempt.id, Attempt.job_id).join(Lease, Lease.attempt_id == Attempt.id)
    return session.execute(running.where(Lease.slot_id == slot_id, Attempt.state == AttemptState.RUNNING)).one_or_none()


def in_use(session: Session, slot_id: str) -> bool:
    """Whether an attempt runs on the slot."""
    return user_of(session, slot_id) is not None


def leave(session: Session, slot_id: str, *, worker: str, now: datetime) -> None:
    """Record that the worker has stopped: nothing is placed on the slot until a worker registers it again."""
    mine = update(Slot).where(Slot.id == slot_id, Slot.worker == worker)
    if session.scalar(mine.values(heartbeat_at=None).returning(Slot.id)) is not None:
        record(session, "slot.left", now, slot_id=slot_id, worker=worker)


def _refuse_while_owned(session: Session, slot: Slot, worker: str, now: datetime, lost_after: timedelta) -> None:
    alive = slot.heartbeat_at is not None and slot.heartbeat_at > now - lost_after
    leased = select(Lease.slot_id).join(Attempt, Attempt.id == Lease.attempt_id)
    running = leased.where(Lease.slot_id == slot.id, Lease.expires_at > now, Attempt.state == AttemptState.RUNNING)
    if slot.worker not in (None, worker) and (alive or session.scalar(running) is not None):
        raise SlotTaken(
            f"{slot.id} is owned by worker {slot.worker} (pid {slot.worker_pid}) of a machine with other locks; "
            f"if that is another machine, give this one a name of its own (TX81_HOST); if it was this one before it "
            f"restarted, start again in {lost_after.total_seconds():.0f} s",
            owner=slot.worker,
        )
