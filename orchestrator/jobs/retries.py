"""What happens after a failed attempt, depending on all attempts of its job: reads the rows for
`failures.next_step`."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.jobs import needs
from orchestrator.model.failures import Await, Failure, FailureKind, GiveUp, Retry, device_kills, next_step, pause_after
from orchestrator.model.serving import LONG_ENOUGH, died_at_once
from orchestrator.model.states import FINAL
from orchestrator.storage.tables import Attempt, Endpoint, Job, Release


@dataclass(frozen=True)
class _Failed:
    """One claimed attempt that ended in a failure; `life` is how long it was ready as a server."""

    slot_id: str
    failure: dict[str, Any]
    suspicion: dict[str, Any] | None
    life: timedelta | None


def after(session: Session, job: Job, failure: Failure, max_attempts: int) -> tuple[Failure, Retry | Await | GiveUp]:
    """Whether a job is tried again after the failure of its latest attempt, which is stored already.

    Also returned is the failure of the job if it is not retried: its own, or `device_kills`.
    """
    tried = _failed_attempts(session, job)
    if failure.kind is FailureKind.SERVER_GONE:
        return failure, _without_server(session, job, failure, len(tried), max_attempts)
    restarted = job.kind == "serve" and job.spec.get("keep") and failure.kind in (FailureKind.FAULT, FailureKind.TOOL)
    if restarted:
        # Failures before its last long life do not count.
        tried = tried[len(tried) - died_at_once([each.life for each in tried]) :]
        failure, step = _kept(failure, len(tried), max_attempts)
    else:
        kinds = [each.failure["kind"] for each in tried]
        step = next_step(
            failure,
            faults=kinds.count(FailureKind.FAULT),
            tool_failures=kinds.count(FailureKind.TOOL),
            # A canary is not retried: another canary is submitted, after a pause.
            max_attempts=1 if job.kind == "canary" else max_attempts,
            tool_retries=job.tool_retries,
        )
    # One attempt counts as one kill, whatever the number of its slots: the first slot represents all.
    kills = {each.slot_id for each in tried if each.suspicion and each.suspicion.get("blames_job", True)}
    killer = device_kills(failure, kills)
    if killer is not None and (isinstance(step, Retry) or failure.kind is FailureKind.FAULT):
        return killer, GiveUp(killer.reason)
    if isinstance(step, Retry) and failure.kind is FailureKind.FAULT:
        faults = sum(each.failure["kind"] == FailureKind.FAULT for each in tried)
        step = replace(step, pause=pause_after(_first_pause(session, job, failure), faults))
    return failure, step


def _first_pause(session: Session, job: Job, failure: Failure) -> timedelta:
    """What the profile of its release asks for after this fault."""
    release = None if failure.signature is None else session.get(Release, job.release)
    known = () if release is None else release.profile.get("fault_signatures", ())
    seconds = next((one.get("retry_after_seconds", 0) for one in known if one["name"] == failure.signature), 0)
    return timedelta(seconds=seconds)


def _kept(failure: Failure, deaths: int, most: int) -> tuple[Failure, Retry | GiveUp]:
    if deaths < most:
        return failure, Retry(f"restart policy keep: {failure.reason}")
    seconds = int(LONG_ENOUGH.total_seconds())
    why = f"{deaths} times in a row it was not ready for {seconds} s, so it is not restarted: {failure.reason}"
    return failure.model_copy(update={"reason": why}), GiveUp(why)


def _without_server(session: Session, job: Job, failure: Failure, tries: int, most: int) -> Await | GiveUp:
    """A client waits for servers with restart policy `keep`, or that are retried after a fault. The client is not at
    fault, but the number of waits is limited.

    A server whose end is not reported yet may still be retried. If it is not, the client's need is never met, and it
    fails for that reason (`orchestrator.jobs.admission`)."""
    used = needs.servers_of(session, job.id)
    coming = bool(used) and all(
        server.state not in FINAL and server.stop is None and not server.cancel_requested for server in used
    )
    if coming and tries < most:
        return Await(f"its server will be started again, and it waits for it: {failure.reason}")
    return GiveUp(failure.reason)


def _failed_attempts(session: Session, job: Job) -> list[_Failed]:
    """Columns, not objects: the session may hold the attempt as it was before its UPDATE."""
    ended = (
        select(Attempt.slot_id, Attempt.failure, Attempt.suspicion, Attempt.ended_at, Endpoint.ready_at)
        .outerjoin(Endpoint, Endpoint.attempt_id == Attempt.id)
        .where(Attempt.job_id == job.id, Attempt.failure.is_not(None), Attempt.worker.is_not(None))
        .order_by(Attempt.number)
    )
    return [
        _Failed(slot_id, failure, suspicion, ended_at - ready_at if ended_at and ready_at else None)
        for slot_id, failure, suspicion, ended_at, ready_at in session.execute(ended)
        # A stopped worker counts neither against the job nor against the slot.
        if failure is not None and (suspicion or failure["kind"] != FailureKind.STOPPED)
    ]
