"""How an attempt ends for its worker: reported with its results, returned to the queue, or taken away."""

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, replace

from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError

from orchestrator.errors import OrchestratorError, OwnershipLost
from orchestrator.jobs.lifecycle import Ending
from orchestrator.model.failures import WITH_RESULTS, Failure, FailureKind
from orchestrator.model.states import AttemptState
from workers.attempt import report
from workers.attempt.blackbox import store_black_box
from workers.attempt.collect import Output, Results, seal_log
from workers.attempt.facts import Claimed, Findings, Taken
from workers.attempt.kinds.tool import Tool
from workers.attempt.log_shipping import LogShipper
from workers.attempt.troubles import fault_of

log = logging.getLogger(__name__)

_REPORT_AGAIN = 1.0
"""Seconds before an attempt's end is reported again to a database that did not answer."""


@dataclass(frozen=True)
class Ended:
    """How an attempt ended here; LOST if it was returned or taken away."""

    state: AttemptState
    reason: str = ""
    following: Taken | None = None
    """The next job of the slot, which this worker has taken in the transaction of this end."""


@dataclass(frozen=True)
class _Log:
    """The whole log in the store; without a digest, only its live pieces exist."""

    digest: str | None
    size: int


def reported(claimed: Claimed, kind: Tool, found: Findings, shipper: LogShipper) -> Ended:
    """Report the end, with retries; OwnershipLost if that is not possible before the lease expires."""
    whole_log: _Log | None = None
    if found.suspicion is None and found.failure is not None:
        found = replace(found, suspicion=kind.suspect(found.failure))
    found = _with_black_box(claimed, found)
    give_up = time.monotonic() + claimed.slot.settings.lease.total_seconds()
    while True:
        if found.failure is not None and found.failure.kind not in WITH_RESULTS:
            # The files found are stored; partial rows would look complete. Those of wrong answers are complete.
            found = replace(found, results=replace(found.results, answers=[], metrics=[]))
        try:
            if whole_log is None:
                found, whole_log = _with_log(claimed, found, shipper)
            return _finish(claimed, kind, found, whole_log)
        except (OperationalError, InterfaceError):
            # Results of hours are not lost because of a short outage, but no worker can wait longer than its lease.
            log.warning("end not reported; retrying", exc_info=True)
            if time.monotonic() > give_up:
                raise OwnershipLost("the end could not be reported in time") from None
            time.sleep(_REPORT_AGAIN)
        except SQLAlchemyError as trouble:
            if found.results == Results():
                raise
            log.exception("results refused by the database", extra={"attempt": claimed.id})
            found = replace(found, failure=fault_of(trouble), results=Results())


def given_back(claimed: Claimed, found: Findings, shipper: LogShipper, *, why: str) -> Ended:
    """Return the job to the queue; of the attempt, at most a black box is stored."""
    with suppress(SQLAlchemyError):
        shipper.flush()
    found = _with_black_box(claimed, replace(found, results=Results()))
    give_up = time.monotonic() + claimed.slot.settings.lease.total_seconds()
    while True:
        try:
            report.give_back(
                claimed.slot.database, claimed.id, owner=claimed.slot.owner, why=why, suspicion=found.suspicion,
                outputs=found.results.outputs,
            )  # fmt: skip
            return Ended(AttemptState.LOST, why)
        except (OperationalError, InterfaceError):
            log.warning("attempt not returned to the queue; retrying", exc_info=True)
            if time.monotonic() > give_up:
                raise OwnershipLost("the attempt could not be returned to the queue in time") from None
            time.sleep(_REPORT_AGAIN)


def taken_away(claimed: Claimed, found: Findings) -> OwnershipLost:
    """Report the suspicion against the slot, since the attempt's end cannot be reported; returns the error to raise."""
    if found.suspicion is not None:
        slot = claimed.slot
        with suppress(SQLAlchemyError, OrchestratorError):
            report.suspect(slot.database, claimed.id, claimed.assignment.slot_ids, found.suspicion, worker=slot.worker)
    return OwnershipLost("the lease was lost while the tool ran", attempt=claimed.id)


def _finish(claimed: Claimed, kind: Tool, found: Findings, whole_log: _Log) -> Ended:
    """Try once to report it."""
    slot = claimed.slot
    concluded = kind.conclude(found.failure, found.suspicion)
    seconds = None if found.outcome is None else found.outcome.seconds
    ending = Ending(
        concluded.failure, seconds, whole_log.digest, whole_log.size, concluded.suspicion, started=found.started,
        revoked_by=claimed.stop.by, telemetry=found.telemetry,
    )  # fmt: skip
    results = replace(found.results, outputs=[*found.results.outputs, *concluded.outputs])
    began = time.monotonic()
    reported = report.finish(
        slot.database, claimed.id, ending, results, owner=slot.owner, max_attempts=slot.settings.max_attempts,
        limits=found.limits, lease=slot.settings.lease if claimed.takes_next() else None,
    )  # fmt: skip
    following = None if reported.following is None else Taken(reported.following, began)
    return _ended(concluded.failure, following)


def _ended(failure: Failure | None, following: Taken | None) -> Ended:
    if failure is None:
        return Ended(AttemptState.SUCCEEDED, following=following)
    state = AttemptState.CANCELLED if failure.kind is FailureKind.CANCELLED else AttemptState.FAILED
    return Ended(state, f"{failure.kind}: {failure.reason}", following)


def _with_log(claimed: Claimed, found: Findings, shipper: LogShipper) -> tuple[Findings, _Log]:
    """Seal the log, or otherwise ship its rest; raises if the database does not accept it, so that it is tried
    again."""
    if not claimed.log.exists():
        return found, _Log(None, 0)
    try:
        output, size = seal_log(claimed.log, claimed.store, name=f"{claimed.assignment.label}.log.zst")
    except Exception:
        log.exception("log not sealed", extra={"attempt": claimed.id})
        with suppress(OSError):
            shipper.flush()
        return found, _Log(None, claimed.log.stat().st_size)
    return _keeping(found, output), _Log(output.digest, size)


def _with_black_box(claimed: Claimed, found: Findings) -> Findings:
    """Store the black box before the slot is released; if that fails, the end is reported without it."""
    fault = found.failure is not None and found.failure.kind is FailureKind.FAULT
    if not fault and found.suspicion is None:
        return found
    command = None if found.plan is None else found.plan.document
    try:
        box = store_black_box(
            claimed.store, claimed.work, label=claimed.assignment.label, log=claimed.log, command=command,
            outcome=found.outcome, guard=found.guard, failure=found.failure, suspicion=found.suspicion,
            since=claimed.began,
        )  # fmt: skip
    except Exception:
        log.exception("black box not stored", extra={"attempt": claimed.id})
        return found
    return _keeping(found, box)


def _keeping(found: Findings, output: Output) -> Findings:
    return replace(found, results=replace(found.results, outputs=[*found.results.outputs, output]))
