"""What a cell of a run is held to: the baseline that a person set, or a view of earlier runs that the suite asks for.

A view starts from the baseline in force: until there are enough good runs after it, and whenever doubt leaves too few,
the cell is held to the baseline itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.comparisons.sides import side_of
from orchestrator.model.suites import JobRole, MedianOfGood, RunPurpose, SuiteDocument
from orchestrator.model.verdicts import Verdict
from orchestrator.results.baselines import JudgedRun, median_of_good, previous_good
from orchestrator.results.sides import Side
from orchestrator.storage.tables import Baseline, SuiteJob, SuiteRun
from orchestrator.suites import baselines

LOOK_BACK = 50
"""Earlier runs among which good ones are looked for."""


@dataclass(frozen=True)
class CellReference:
    """The side that a cell is compared with, and the baseline that it is or started from."""

    side: Side
    baseline: int


def reference_of(
    session: Session, document: SuiteDocument, cell: str, run: SuiteRun, pinned: Baseline | None
) -> CellReference | None:
    """None without a baseline in force that is out of doubt: nothing was ever accepted for the cell."""
    if pinned is None:
        return None
    side = None
    if document.baseline == "previous_good":
        side = previous_good(_judged(session, run, cell, pinned, most=1))
    elif isinstance(document.baseline, MedianOfGood):
        wanted = document.baseline.median_of_good
        side = median_of_good(_judged(session, run, cell, pinned, most=wanted), wanted)
    return CellReference(side or baselines.as_side(pinned), pinned.id)


def _judged(session: Session, run: SuiteRun, cell: str, pinned: Baseline, *, most: int) -> list[JudgedRun]:
    """The latest good runs of a cell since the baseline was set, before this run; at most so many with results."""
    earlier = select(SuiteRun).where(
        SuiteRun.suite == run.suite, SuiteRun.id < run.id, SuiteRun.purpose == RunPurpose.MEASURE,
        SuiteRun.ended_at.is_not(None), SuiteRun.created_at >= pinned.since,
    )  # fmt: skip
    found: list[JudgedRun] = []
    for each in session.scalars(earlier.order_by(SuiteRun.id.desc()).limit(LOOK_BACK)):
        verdict = ((each.report or {}).get("cells", {}).get(cell) or {}).get("verdict")
        if verdict in (Verdict.SAME, Verdict.BETTER):
            side = side_of(session, f"run {each.id}", _measured(session, each.id, cell))
            if side.settings:
                found.append(JudgedRun(each.id, side, Verdict(verdict)))
        if len(found) == most:
            break
    return found


def _measured(session: Session, run_id: int, cell: str) -> Sequence[int]:
    first = SuiteJob.role.in_((JobRole.MEASURE, JobRole.REPEAT))
    found = select(SuiteJob.job_id).where(SuiteJob.run_id == run_id, SuiteJob.cell == cell, first)
    return session.scalars(found.order_by(SuiteJob.job_id)).all()
