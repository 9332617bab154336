"""What is written to SQL when an attempt ends: everything in one transaction, guarded by its lease."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from types import MappingProxyType

from sqlalchemy.orm import Session

from orchestrator.jobs import assignments, lifecycle
from orchestrator.jobs import results as stored_results
from orchestrator.jobs.lifecycle import Ending
from orchestrator.jobs.ownership import Owner
from orchestrator.model.assignments import Assignment
from orchestrator.model.doubts import DoubtReason
from orchestrator.model.failures import Suspicion
from orchestrator.model.states import JobState
from orchestrator.model.telemetry import Limit, Measure, beyond
from orchestrator.results.answers import digest_of
from orchestrator.slots import doubt, lacks, service
from orchestrator.storage import live_logs
from orchestrator.storage.database import Database
from workers.attempt.collect import Output, Results


@dataclass(frozen=True)
class Reported:
    """The state of the job that was reported, and the next job of the slot, which is the worker's already."""

    state: JobState
    following: Assignment | None = None


def finish(
    database: Database, attempt_id: int, ending: Ending, results: Results, *, owner: Owner, max_attempts: int,
    limits: Mapping[Measure, Limit] = MappingProxyType({}), lease: timedelta | None = None,
) -> Reported:  # fmt: skip
    """Store results and ending together; OwnershipLost, and nothing stored, if the attempt no longer belongs to this
    worker.

    With a `lease`, the next job in line starts on the slot in the same transaction, leased for so long."""
    following: Assignment | None = None
    if results.answers:
        ending = replace(ending, answers_digest=digest_of(answer.given for answer in results.answers))
    with database.write() as session:
        now = database.now(session)

        def store_and_follow() -> None:
            nonlocal following
            _store(session, attempt_id, ending, results, limits, now)
            if lease is not None:
                following = assignments.take_next(session, attempt_id, owner=owner, now=now, lease=lease)

        state = lifecycle.finish(
            session, attempt_id, ending, owner=owner, now=now, max_attempts=max_attempts,
            # Checked first, so that ten thousand rows are not written only to be rolled back.
            store_results=store_and_follow,
        )  # fmt: skip
    return Reported(state, following)


def _store(
    session: Session, attempt_id: int, ending: Ending, results: Results, limits: Mapping[Measure, Limit], now: datetime
) -> None:
    _add_outputs(session, attempt_id, results.outputs, now)
    stored_results.add_answers(session, attempt_id, results.answers)
    stored_results.add_metrics(session, attempt_id, results.metrics)
    if ending.log_digest is not None:
        live_logs.drop(session, attempt_id)
    if ending.suspicion is not None:
        doubt.after_suspicion(session, attempt_id, ending.suspicion, ending.failure, now=now)
    if ending.failure is None and (out := list(beyond(limits, ending.telemetry))):
        doubt.of_attempt(session, attempt_id, DoubtReason.OUT_OF_LIMITS, {"reason": "; ".join(out)}, now=now)


def give_back(
    database: Database,
    attempt_id: int,
    *,
    owner: Owner,
    why: str,
    suspicion: Suspicion | None,
    outputs: Sequence[Output] = (),
) -> None:
    """Return a job that was stopped through no fault of its own to the queue; only these files of it are stored."""
    with database.write() as session:
        now = database.now(session)
        if lifecycle.give_back(session, attempt_id, owner=owner, now=now, why=why, suspicion=suspicion):
            _add_outputs(session, attempt_id, outputs, now)
            if suspicion is not None:
                doubt.after_suspicion(session, attempt_id, suspicion, None, now=now)


def lack(database: Database, host: str, name: str, *, why: str, probed: bool) -> None:
    """Keep work that needs `name` away from a host that does not have it (`orchestrator.slots.lacks`)."""
    with database.write() as session:
        lacks.note(session, host, name, why=why, now=database.now(session), probed=probed)


def suspect(database: Database, attempt_id: int, slot_ids: Sequence[str], suspicion: Suspicion, *, worker: str) -> None:
    """Quarantine the slots of an attempt that was taken away, whose end can no longer report the suspicion.

    `worker` is the worker of the first slot."""
    with database.admission() as (session, now):
        service.suspect(session, slot_ids[0], worker=worker, reason=suspicion.reason, now=now, others=slot_ids[1:])
        doubt.after_suspicion(session, attempt_id, suspicion, None, now=now)


def _add_outputs(session: Session, attempt_id: int, outputs: Sequence[Output], now: datetime) -> None:
    lifecycle.add_outputs(session, attempt_id, map(vars, outputs), now=now)
