"""A lab in which something ran, something runs and something waits."""

from datetime import timedelta

from sqlalchemy import update

from builders import lifecycle
from builders.results import a_run
from builders.rows import A_MOMENT, a_slot_row
from orchestrator.model.states import JobState
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt


def a_lab(database: Database, name: str = "running") -> None:
    """g0 runs job 1 now, and job 2 waits for it; on g1 one failed and one succeeded, eight minutes each, 10 minutes
    apart from `A_MOMENT` on."""
    with database.write() as session:
        first = lifecycle.a_slot(session, "g0")
        a_slot_row(session, "lab1.g1")
        a_slot_row(session, "lab1.cpu0")
        lifecycle.a_running_attempt(session, lifecycle.a_job(session, name=name), first)
        lifecycle.a_job(session).demand = f"card_group {first.id}"
        for place, facts in enumerate([{"state": JobState.FAILED, "failure": {"kind": "tool", "reason": "x"}}, {}]):
            job = a_run(session, slot="lab1.g1", **facts)
            start = A_MOMENT + timedelta(minutes=10 * place)
            times = {"assigned_at": start, "started_at": start, "ended_at": start + timedelta(minutes=8)}
            session.execute(update(Attempt).where(Attempt.job_id == job).values(**times))
