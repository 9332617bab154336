"""Suites: their versions, their runs with the jobs of each, and the schedules that start them."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, false
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.tables.base import Base, BigKey, Document, only


class Suite(Base):
    """What is measured again and again, in its present version."""

    __tablename__ = "suite"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    digest: Mapped[str] = mapped_column(String(71))
    document: Mapped[Document]
    """Normalised (`orchestrator.model.suites.SuiteDocument`), with every file by digest."""
    project: Mapped[str] = mapped_column(String(100))
    created_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    """Of this version."""
    removed_at: Mapped[datetime | None]
    verdict: Mapped[str | None] = mapped_column(String(20))
    """The last one that was announced; null before the first."""
    verdict_at: Mapped[datetime | None]


class SuiteVersion(Base):
    """One version of a suite, as it was applied; never changed, and kept when the suite is removed."""

    __tablename__ = "suite_version"

    digest: Mapped[str] = mapped_column(String(71), primary_key=True)
    name: Mapped[str] = mapped_column(String(100), index=True)
    document: Mapped[Document]
    created_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]


class SuiteRun(Base):
    """One run of a suite: its jobs, and its verdict once all of them have ended."""

    __tablename__ = "suite_run"
    __table_args__ = (
        Index("ix_suite_run_suite", "suite", "id"),
        # The few that have not ended.
        Index("ix_suite_run_open", "id", **only("ended_at IS NULL")),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    suite: Mapped[str | None] = mapped_column(String(100))
    """Null of an A/B run."""
    digest: Mapped[str | None] = mapped_column(ForeignKey("suite_version.digest"))
    purpose: Mapped[str] = mapped_column(String(20))
    batch_id: Mapped[int] = mapped_column(ForeignKey("batch.id"))
    """Its first jobs; those that were ordered later are in batches of their own."""
    schedule: Mapped[str | None] = mapped_column(String(100))
    due_at: Mapped[datetime | None]
    started_by: Mapped[str] = mapped_column(String(100))
    created_at: Mapped[datetime]
    round: Mapped[int] = mapped_column(default=1, server_default="1")
    """How often jobs were submitted for it; the row is changed only by a process that has read the present value."""
    ended_at: Mapped[datetime | None]
    verdict: Mapped[str | None] = mapped_column(String(20))
    why: Mapped[str | None] = mapped_column(Text)
    cells: Mapped[int | None]
    """Cells that were judged."""
    alarms: Mapped[int | None]
    """Cells that were worse at first and were measured again."""
    false_alarms: Mapped[int | None]
    """Those that were not worse then."""
    report: Mapped[Document | None]
    """Every cell with its verdict and the numbers it stands on."""


class SuiteJob(Base):
    """A job of a run whose results are judged; builds are not listed."""

    __tablename__ = "suite_job"

    run_id: Mapped[int] = mapped_column(ForeignKey("suite_run.id"), primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), primary_key=True, index=True)
    cell: Mapped[str] = mapped_column(String(800))
    role: Mapped[str] = mapped_column(String(20))


class Schedule(Base):
    """When a suite is run."""

    __tablename__ = "schedule"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    suite: Mapped[str] = mapped_column(String(100))
    cron: Mapped[str] = mapped_column(String(200))
    zone: Mapped[str] = mapped_column(String(60))
    missed: Mapped[str] = mapped_column(String(20))
    overlap: Mapped[str] = mapped_column(String(20))
    purpose: Mapped[str] = mapped_column(String(20))
    paused: Mapped[bool] = mapped_column(default=False, server_default=false())
    max_age_seconds: Mapped[int | None]
    changed_by: Mapped[str] = mapped_column(String(100))
    changed_at: Mapped[datetime]
    considered_until: Mapped[datetime]
    """Due times up to here have been acted on or given up."""


class ScheduleFiring(Base):
    """The outcome of one due time of a schedule. The constraint makes firing twice impossible; rows are never removed
    with their schedule."""

    __tablename__ = "schedule_firing"
    __table_args__ = (
        UniqueConstraint("schedule", "due_at"),
        Index("ix_schedule_firing_waiting", "id", **only("state = 'waiting'")),
    )

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    schedule: Mapped[str] = mapped_column(String(100))
    due_at: Mapped[datetime]
    at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(20))
    given_up: Mapped[int] = mapped_column(default=0, server_default="0")
    """Due times before this one that were missed and not made up for."""
    run_id: Mapped[int | None] = mapped_column(ForeignKey("suite_run.id"))
    why: Mapped[str | None] = mapped_column(Text)
