"""Slots and hosts, what checks them, and who has reserved them."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.model.slots import SlotKind
from orchestrator.model.states import ServiceState
from orchestrator.storage.tables.base import Base, BigKey, Document


class Slot(Base):
    """One place where one job runs at a time. Occupied exactly while a lease names it."""

    __tablename__ = "slot"

    id: Mapped[str] = mapped_column(String(80), primary_key=True)
    """HOST.SLOT, also the name of its Celery queue."""
    host: Mapped[str] = mapped_column(String(63))
    name: Mapped[str] = mapped_column(String(10))
    kind: Mapped[SlotKind]
    service_state: Mapped[ServiceState] = mapped_column(default=ServiceState.IN_SERVICE)
    worker: Mapped[str | None] = mapped_column(String(100))
    """Name of the worker process that owns it, new at every start."""
    worker_pid: Mapped[int | None]
    heartbeat_at: Mapped[datetime | None]
    """Latest heartbeat of its worker; null after the worker stopped."""
    lock_domain: Mapped[str | None] = mapped_column(String(32))
    """Of its worker: who shares it sees each other's locks, and knows by them who is dead."""
    last_ended_at: Mapped[datetime | None]
    service_change: Mapped[Document | None]
    """Who drained, resumed or quarantined it last, when and why; `by` is null where no person did."""
    quarantined_because: Mapped[Document | None]
    """Why it is quarantined: reason, signature, job, attempt, evidence, who, when. Kept when canaries have failed."""
    resume_requested: Mapped[Document | None]
    """Who asked for it back, when and why, until its worker has looked at its cards and answered."""
    deaf: Mapped[Document | None]
    """Since when its worker has not heard its doorbells, and of which attempt; null once a worker announces it."""
    misrouted_bells: Mapped[int] = mapped_column(default=0, server_default="0")
    """Doorbells for attempts of other slots that its workers have heard and dropped."""
    labels: Mapped[Document | None]
    """Of its host, as its worker announced them; null until one did."""
    kcore: Mapped[str | None] = mapped_column(String(71))
    """Digest of the kernel image that was placed on it last."""
    lacks: Mapped[Document | None]
    """What its host turned out not to have (`orchestrator.model.lacks.Lack`): releases, room on its disk, a port."""


class Host(Base):
    """One server with cards, once the dispatcher has seen a slot of it."""

    __tablename__ = "host"

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    away_since: Mapped[datetime | None]
    """Latest heartbeat of any of its workers before it was found away; null while one is present."""


class Canary(Base):
    """What proves that the cards of a quarantined slot work: a short inference whose answers are known."""

    __tablename__ = "canary"

    release: Mapped[str] = mapped_column(ForeignKey("release.name"), primary_key=True)
    spec: Mapped[Document]
    """`orchestrator.model.specs.CanarySpec` with every input by digest, so that it is always the same."""
    set_by: Mapped[str] = mapped_column(String(100))
    set_at: Mapped[datetime]


class Reservation(Base):
    """Slots that a person, or maintenance, has for a time; over once `ended_at` is set or `ends_at` is past."""

    __tablename__ = "reservation"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    project: Mapped[str | None] = mapped_column(String(100))
    """Whose jobs may run inside; null: nobody's."""
    by: Mapped[str] = mapped_column(String(100))
    note: Mapped[str | None] = mapped_column(Text)
    starts_at: Mapped[datetime]
    ends_at: Mapped[datetime]
    """As it was planned; it ends at once when it is cancelled."""
    created_at: Mapped[datetime]
    began_at: Mapped[datetime | None]
    """When its beginning was noted in the events; the times above hold without that."""
    ended_at: Mapped[datetime | None] = mapped_column(index=True)
    """When its end was noted in the events, or when it was cancelled."""
    cancelled: Mapped[Document | None]
    """Who cancelled it, when and why."""


class ReservationSlot(Base):
    """One slot of a reservation."""

    __tablename__ = "reservation_slot"

    reservation_id: Mapped[int] = mapped_column(ForeignKey("reservation.id"), primary_key=True)
    slot_id: Mapped[str] = mapped_column(ForeignKey("slot.id"), primary_key=True, index=True)
