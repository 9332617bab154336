"""What placement uses in addition to jobs and slots: the shares of projects, which process places, and the line."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.tables.base import Base, BigKey, Document


class Project(Base):
    """Whose jobs they are, and what of the slots' time it has had."""

    __tablename__ = "project"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    weight: Mapped[float] = mapped_column(default=1.0)
    """Its share beside the others, while they have work."""
    used_seconds: Mapped[float] = mapped_column(default=0.0)
    """Slot-seconds of its attempts that have ended, as they had faded by `used_at`."""
    used_at: Mapped[datetime]
    half_life_seconds: Mapped[float]
    """In which half of the used seconds fades; the dispatcher sets it as its setting says."""


class Leader(Base):
    """Which process has a role that only one may have, and until when."""

    __tablename__ = "leader"

    role: Mapped[str] = mapped_column(String(40), primary_key=True)
    holder: Mapped[str] = mapped_column(String(100))
    expires_at: Mapped[datetime]
    broker: Mapped[Document | None]
    """What it found of the broker last (`orchestrator.model.broker_findings`); null before its first look."""


class Line(Base):
    """The one row with the queued jobs that come next, for slots that become free (`orchestrator.jobs.line`)."""

    __tablename__ = "line"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    planned_at: Mapped[datetime]
    due_at: Mapped[datetime | None]
    """When the dispatcher decides it again at the latest; null if there was nothing to decide."""
    size: Mapped[int]
    middle: Mapped[int | None] = mapped_column(BigKey)
    """The job in the middle of it: once it is not queued any more, the line is half used up."""
    several: Mapped[bool]
    """Whether several projects had queued jobs."""
    lowest: Mapped[int]
    """The lowest priority in it."""
    project: Mapped[str | None] = mapped_column(String(100))
    """The project of all its jobs; null if they are of several."""
    jobs: Mapped[Document]
    """Under `jobs`, the first one first: number, demand class, digest of the kernel image or null."""
