"""The mapped classes of reservations; what may change them is in `orchestrator.slots.reservations`."""

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.base import Base, BigKey, Document


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
