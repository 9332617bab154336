"""Regressions that people work on: cases, the series of each, and their trail."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.tables.base import Base, BigKey, Document, only


class Case(Base):
    """One regression, of one series or of several that became worse by the same change. The table has a longer name,
    because `case` is a word of SQL."""

    __tablename__ = "regression_case"
    __table_args__ = (Index("ix_regression_case_open", "id", **only("state != 'closed'")),)

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    state: Mapped[str] = mapped_column(String(20))
    """`orchestrator.model.cases.CaseState`."""
    outcome: Mapped[str] = mapped_column(String(20))
    """What the second measurement said: `model_or_toolchain`, `card`, or `worse` without one."""
    suite: Mapped[str] = mapped_column(String(100))
    """The one in which it was seen first."""
    change: Mapped[Document]
    """Field of the setting → its values before and after; empty if no known change explains it."""
    last_good_run: Mapped[int | None]
    first_bad_run: Mapped[int]
    opened_at: Mapped[datetime]
    until: Mapped[datetime | None]
    """Accepted as a known issue until then."""
    link: Mapped[str | None] = mapped_column(Text)
    closed_at: Mapped[datetime | None]


class CaseSeries(Base):
    """One metric, or the answers, of one cell of a suite, as far as a case goes."""

    __tablename__ = "case_series"
    __table_args__ = (Index("ix_case_series_cell", "suite", "cell"),)

    case_id: Mapped[int] = mapped_column(ForeignKey("regression_case.id"), primary_key=True)
    suite: Mapped[str] = mapped_column(String(100), primary_key=True)
    cell: Mapped[str] = mapped_column(String(800), primary_key=True)
    metric: Mapped[str] = mapped_column(String(60), primary_key=True)
    last_good_run: Mapped[int | None]
    first_bad_run: Mapped[int]
    last_run: Mapped[int]
    """The latest run that counted for it."""
    good_runs: Mapped[int]
    """Good ones in a row since it was last worse."""
    jobs: Mapped[list[int]] = mapped_column(JSON)
    """Those whose results showed it last."""


class CaseEntry(Base):
    """One line of a case's trail."""

    __tablename__ = "case_entry"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    case_id: Mapped[int] = mapped_column(ForeignKey("regression_case.id"), index=True)
    at: Mapped[datetime]
    by: Mapped[str | None] = mapped_column(String(100))
    """The person; null for a rule."""
    rule: Mapped[str | None] = mapped_column(String(20))
    start: Mapped[str | None] = mapped_column(String(20))
    """The state before; null if it was opened, or stayed as it was."""
    to: Mapped[str] = mapped_column(String(20))
    note: Mapped[str] = mapped_column(Text)
