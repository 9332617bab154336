"""Targets of messages about changes of state, and each message to them."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.model.notifications import DeliveryState, TargetKind
from orchestrator.storage.tables.base import Base, BigKey, Document, only


class NotificationTarget(Base):
    """A receiver of notifications. URL and secret are needed to send; they are never shown or logged."""

    __tablename__ = "notification_target"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    kind: Mapped[TargetKind]
    url: Mapped[str] = mapped_column(Text)
    secret: Mapped[str | None] = mapped_column(String(120))
    """Key of a webhook's signatures; null for apprise."""
    created_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]


class Delivery(Base):
    """One message to one target, written in the transaction in which the state changed."""

    __tablename__ = "delivery"
    __table_args__ = (
        Index("ix_delivery_due", "next_at", **only("state = 'pending'")),
        Index("ix_delivery_target_subject", "target", "subject", "id"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    target: Mapped[str] = mapped_column(ForeignKey("notification_target.name"))
    message_id: Mapped[str] = mapped_column(String(60), unique=True)
    """The same for every attempt, so that a receiver knows a message that comes twice."""
    subject: Mapped[str] = mapped_column(String(200))
    type: Mapped[str] = mapped_column(String(40))
    document: Mapped[Document]
    state: Mapped[DeliveryState]
    attempts: Mapped[int]
    next_at: Mapped[datetime | None]
    """When it is tried next, or, while it is being sent, when it is taken to be lost; null once it has ended."""
    last_status: Mapped[int | None]
    """HTTP status of the latest answer."""
    last_error: Mapped[str | None] = mapped_column(Text)
    created_at: Mapped[datetime]
    delivered_at: Mapped[datetime | None]
