"""What later measurements are held to."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.tables.base import Base, BigKey, Document, only


class Baseline(Base):
    """Measurements and answers of one cell of a suite, copied in, which later runs are held to. They never change:
    another baseline is another row, and the end of this one is noted."""

    __tablename__ = "baseline"
    __table_args__ = (
        # At most one is in force.
        Index("ix_baseline_current", "suite", "cell", unique=True, **only("until IS NULL")),
        Index("ix_baseline_suite", "suite", "id"),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    suite: Mapped[str] = mapped_column(String(100))
    cell: Mapped[str] = mapped_column(String(800))
    settings: Mapped[Document]
    """`runs`: the setting of each."""
    samples: Mapped[Document]
    """Metric → one number of each run that has it."""
    definitions: Mapped[Document]
    """Metric → its unit and definition."""
    answers: Mapped[Document] = mapped_column(deferred=True)
    """`given`: every answer (`orchestrator.results.sides.AnswerOf`)."""
    author: Mapped[str] = mapped_column(String(100))
    reason: Mapped[str] = mapped_column(Text)
    since: Mapped[datetime]
    until: Mapped[datetime | None]
    """When it was replaced or retired; null while it is in force."""
    ended_by: Mapped[str | None] = mapped_column(String(100))
    ended_reason: Mapped[str | None] = mapped_column(Text)


class BaselineRun(Base):
    """One run that a baseline was made of. Nothing that it consumed or made is removed from the store."""

    __tablename__ = "baseline_run"

    baseline_id: Mapped[int] = mapped_column(ForeignKey("baseline.id"), primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True, index=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"))
