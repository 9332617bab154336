"""The mapped class of what checks of releases have found; written by `orchestrator.catalog.release_checks`."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.base import Base, Document


class CheckedRelease(Base):
    """The latest check of a release on one host."""

    __tablename__ = "release_check"

    release: Mapped[str] = mapped_column(ForeignKey("release.name"), primary_key=True)
    host: Mapped[str] = mapped_column(String(100), primary_key=True)
    root: Mapped[str] = mapped_column(Text)
    """Where it was looked for on that host."""
    ok: Mapped[bool]
    findings: Mapped[list[Document]] = mapped_column(JSON)
    by: Mapped[str] = mapped_column(String(100))
    checked_at: Mapped[datetime]
