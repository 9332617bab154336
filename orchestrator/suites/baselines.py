"""Baselines of cells: set and retired by a person, read for judging."""

from collections.abc import Collection
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from orchestrator.results.sides import AnswerOf, Side
from orchestrator.storage import events
from orchestrator.storage.tables import Baseline


def set_baseline(
    session: Session, suite: str, cell: str, side: Side, jobs: Collection[int], *, by: str, reason: str, now: datetime
) -> Baseline:  # fmt: skip
    """Make these measurements the baseline of a cell; an earlier one ends."""
    ended = {"until": now, "ended_by": by, "ended_reason": reason}
    session.execute(update(Baseline).where(*_current(suite), Baseline.cell == cell).values(ended))
    made = Baseline(
        suite=suite, cell=cell, settings={"runs": [dict(each) for each in side.settings]},
        samples={name: list(values) for name, values in side.samples.items()},
        definitions={name: list(told) for name, told in side.definitions.items()},
        answers={"given": [asdict(answer) for answer in side.answers]}, jobs={"measured": list(jobs)}, author=by,
        reason=reason, since=now,
    )  # fmt: skip
    session.add(made)
    session.flush()
    events.record(session, "baseline.set", now, suite=suite, cell=cell, by=by, reason=reason)
    return made


def retire(session: Session, baseline_id: int, *, by: str, reason: str, now: datetime) -> None:
    """End a baseline."""
    ended = {"until": now, "ended_by": by, "ended_reason": reason}
    session.execute(update(Baseline).where(Baseline.id == baseline_id, Baseline.until.is_(None)).values(ended))
    events.record(session, "baseline.retired", now, baseline=baseline_id, by=by, reason=reason)


def current(session: Session, suite: str) -> dict[str, Baseline]:
    """The baselines of a suite that count, by cell."""
    found = select(Baseline).where(*_current(suite), Baseline.doubtful.is_(None))
    return {row.cell: row for row in session.scalars(found)}


def as_side(baseline: Baseline) -> Side:
    """A baseline as a side of a comparison."""
    return Side(
        f"baseline {baseline.id}",
        settings=tuple(baseline.settings["runs"]),
        samples={name: tuple(values) for name, values in baseline.samples.items()},
        definitions={name: (told[0], told[1]) for name, told in baseline.definitions.items()},
        answers=tuple(AnswerOf(**answer) for answer in baseline.answers["given"]),
    )


def _current(suite: str) -> tuple[Any, ...]:
    return Baseline.suite == suite, Baseline.until.is_(None)
