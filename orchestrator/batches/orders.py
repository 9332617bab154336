"""Orders of users for all jobs of a batch: cancel, hold, unhold, reprioritise, move to the front."""

from sqlalchemy import select

from orchestrator.errors import IllegalTransition, NotFound
from orchestrator.jobs.orders import JobOutcome, Report, carry_out_all
from orchestrator.model.orders import Order
from orchestrator.model.states import FINAL
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Batch, Job

AT_ONCE = 200
"""Jobs changed in one transaction, which takes some tenths of a second."""


def carry_out(database: Database, batch_id: int, order: Order) -> Report:
    """Carry out the order for every job of a batch that has not ended, in portions, newest first.

    Newest first also keeps their order when they are moved to the front: the portion that is moved last comes before
    the others. NotFound without such a batch; IllegalTransition while its jobs are still being written.
    """
    with database.read() as session:
        batch = session.get(Batch, batch_id)
        if batch is None:
            raise NotFound(f"there is no batch {batch_id}", batch=batch_id)
        if batch.sealed_at is None and batch.ended_at is None:
            raise IllegalTransition(f"batch {batch_id} is still being written; ask again in a moment", batch=batch_id)
        unfinished = select(Job.id).where(Job.batch_id == batch_id, Job.state.not_in(FINAL)).order_by(Job.id.desc())
        jobs = session.scalars(unfinished).all()
    outcomes: list[JobOutcome] = []
    for start in range(0, len(jobs), AT_ONCE):
        with database.admission() as (session, now):
            outcomes += carry_out_all(session, jobs[start : start + AT_ONCE], order, now=now).outcomes
    return Report(tuple(sorted(outcomes, key=lambda outcome: outcome.job_id)))
