"""Baselines: what the cells of suites are compared with."""

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.tables.base import Base, BigKey, Document, only


class Baseline(Base):
    """The measurements of one cell that count as good, copied in; ended, never changed."""

    __tablename__ = "baseline"
    __table_args__ = (Index("ix_baseline_current", "suite", "cell", unique=True, **only("until IS NULL")),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    suite: Mapped[str] = mapped_column(String(100))
    cell: Mapped[str] = mapped_column(String(800))
    settings: Mapped[Document]
    samples: Mapped[Document]
    definitions: Mapped[Document]
    answers: Mapped[Document]
    jobs: Mapped[Document]
    author: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    ended_by: Mapped[str | None] = mapped_column(String(100))
    ended_reason: Mapped[str | None] = mapped_column(Text)
    doubtful: Mapped[Document | None]
    """Why it is not used; null while it is."""
