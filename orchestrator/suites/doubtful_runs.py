"""Runs of suites whose results came into doubt: the suite is run again, on cards that are in service."""

import logging
from datetime import datetime, timedelta

from sqlalchemy import exists, select
from sqlalchemy.orm import Session, aliased

from orchestrator.errors import IllegalTransition, OrchestratorError
from orchestrator.model.suites import RunPurpose
from orchestrator.storage.database import Database
from orchestrator.storage.events import record
from orchestrator.storage.tables import Attempt, Doubt, Suite, SuiteJob, SuiteRun
from orchestrator.suites.baselines import FIRST_ROLES
from orchestrator.suites.runs import RunOrigin, SuiteRuns

log = logging.getLogger(__name__)

BY = "doubt"
"""Who starts such a run."""

_REFUSED_PAUSE = timedelta(minutes=5)
"""Time before a suite that could not be run is tried again."""


class RunsInDoubt:
    """Runs suites again whose latest scheduled run has lost results to doubt."""

    def __init__(self, database: Database, suite_runs: SuiteRuns) -> None:
        self._database = database
        self._runs = suite_runs
        self._refused: dict[int, datetime] = {}

    def tend(self) -> int:
        """Start a run for each of these suites; returns how many.

        Only where a schedule started the run that is in doubt: of other runs a person decides. The new run is the
        latest one then, so that one doubt leads to one run."""
        with self._database.read() as session:
            now = self._database.now(session)
            due = [(run.suite, run.id) for run in _in_doubt(session) if run.suite is not None]
        return sum(self._start(suite, run_id, now) for suite, run_id in due)

    def _start(self, suite: str, run_id: int, now: datetime) -> bool:
        def still_the_latest(session: Session, made: SuiteRun, at: datetime) -> None:
            between = exists().where(SuiteRun.suite == suite, SuiteRun.id > run_id, SuiteRun.id < made.id)
            if session.scalar(select(between.where(SuiteRun.purpose == RunPurpose.MEASURE))):
                raise IllegalTransition(f"run {run_id} is no longer the latest of suite {suite}")
            record(session, "suite.run_again", at, suite=suite, run=made.id, instead_of=run_id)

        if now < self._refused.get(run_id, now):
            return False
        try:
            self._runs.start(suite, RunOrigin(BY), beside=still_the_latest)
            return True
        except OrchestratorError as refused:
            # The suite itself is at fault, for example its model is gone; or another process was first.
            self._refused[run_id] = now + _REFUSED_PAUSE
            log.warning("suite %s not run again: %s", suite, refused.detail)
            return False


def _in_doubt(session: Session) -> list[SuiteRun]:
    """The latest run of each suite, if it was judged, a schedule had started it, and a measurement is in doubt."""
    doubted = (
        select(SuiteJob.run_id)
        .join(Attempt, Attempt.job_id == SuiteJob.job_id)
        .join(Doubt, Doubt.attempt_id == Attempt.id)
        .where(Doubt.lifted.is_(None), SuiteJob.role.in_(FIRST_ROLES))
    )
    later = aliased(SuiteRun)
    newest = ~exists().where(
        later.suite == SuiteRun.suite, later.id > SuiteRun.id, later.purpose == RunPurpose.MEASURE
    )  # fmt: skip
    scheduled = SuiteRun.schedule.is_not(None) | (SuiteRun.started_by == BY)
    judged = SuiteRun.purpose == RunPurpose.MEASURE, SuiteRun.cells.is_not(None)
    found = select(SuiteRun).join(Suite, Suite.name == SuiteRun.suite).where(Suite.removed_at.is_(None))
    found = found.where(*judged, scheduled, newest, SuiteRun.id.in_(doubted))
    return list(session.scalars(found.order_by(SuiteRun.id)))
