"""The latest runs of a suite side by side, on both databases."""

import pytest
from builders.results import a_batch
from builders.rows import A_MOMENT

from orchestrator.errors import NotFound
from orchestrator.model.suites import CellOutcome
from orchestrator.model.verdicts import Verdict
from orchestrator.storage.tables import SuiteRun
from orchestrator.suites.grid import grid


def a_cell(verdict, outcome, changed=0, relative=None):
    metrics = [
        {"metric": "output_throughput", "threshold": 0.05, "relative": relative},
        {"metric": "request_seconds", "threshold": None, "relative": 9.0},
    ]
    pairs = {"pairs": 5, "changed": changed, "lost": 0, "gained": 0, "judged": 0, "alone": 0}
    comparison = {"metrics": metrics, "answers": {"pairs": pairs}}
    return {"verdict": verdict, "outcome": outcome, "why": "w", "comparison": comparison}


@pytest.fixture
def judged(database):
    """Two runs: `b` is worse in the second one; `a` was not measured in the first."""
    reports = [
        {"model=b": a_cell("same", "good", relative=0.01)},
        {"model=a": a_cell("same", "good"), "model=b": a_cell("worse", "card", 2, -0.2)},
        None,
    ]
    with database.write() as session:
        for report in reports:
            run = {"cells": len(report), "ended_at": A_MOMENT, "report": {"cells": report}} if report else {}
            row = SuiteRun(
                suite="nightly", purpose="measure", batch_id=a_batch(session), started_by="eva", created_at=A_MOMENT,
                round=1, **run,
            )  # fmt: skip
            session.add(row)
        session.flush()


def test_the_worst_case_comes_first_with_the_score_of_each_run(database, judged):
    with database.read() as session:
        found = grid(session, "nightly", limit=20)

    assert [run.ended_at is None for run in found.runs] == [True, False, False]  # the newest first
    assert [row.cell for row in found.rows] == ["model=b", "model=a"]
    running, worse, good = found.rows[0].cells
    assert running is None
    assert (worse.verdict, worse.outcome) == (Verdict.WORSE, CellOutcome.CARD)
    assert (worse.unchanged, worse.compared, worse.metric, worse.relative) == (3, 5, "output_throughput", -0.2)
    assert (good.verdict, good.relative) == (Verdict.SAME, 0.01)
    assert found.rows[1].cells[2] is None


def test_cases_are_chosen_by_a_part_of_their_key_and_runs_by_their_number(database, judged):
    with database.read() as session:
        assert [row.cell for row in grid(session, "nightly", limit=20, part="=A").rows] == ["model=a"]
        assert len(grid(session, "nightly", limit=1).runs) == 1


def test_a_suite_that_is_not_there_is_not_found(database):
    with database.read() as session, pytest.raises(NotFound, match="no suite other"):
        grid(session, "other", limit=20)
