"""Triages: which runs were ordered to tell card, toolchain and model apart."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.tables.base import Base, BigKey, Document


class Triage(Base):
    """A small cross of runs about one job, as a batch; the verdict is computed from their results."""

    __tablename__ = "triage"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    """The job that is asked about."""
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id"), unique=True)
    slot_id: Mapped[str] = mapped_column(String(80))
    """The card group that it ran on."""
    repeats: Mapped[int]
    good_job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    """The job whose kernel image was good; null if none is known."""
    absent: Mapped[Document]
    """Cells that could not be run, and why."""
    created_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
