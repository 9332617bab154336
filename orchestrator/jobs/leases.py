"""An attempt's leases on its slots: taken, extended and released together, or not at all; its endpoint closes with
them.

Part of the transitions in `orchestrator.jobs.lifecycle`, in their transactions. Slots are always leased and released in
the order of their ids, so that two attempts that request some of the same slots never deadlock.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Row
from sqlalchemy.orm import Session

from orchestrator.jobs import statements
from orchestrator.model.failures import Suspicion, of_one_among
from orchestrator.model.states import ServiceState
from orchestrator.storage import database
from orchestrator.storage.database import run
from orchestrator.storage.tables import Attempt, Slot


def take(session: Session, wanted: Iterable[tuple[str, int]], *, until: datetime) -> None:
    """Lease each slot to its attempt; if one is leased already, the database refuses all of them, and the
    transaction."""
    rows = [
        {"slot_id": slot_id, "attempt_id": attempt_id, "expires_at": until} for slot_id, attempt_id in sorted(wanted)
    ]
    database.run_for(session, statements.LEASE, rows)


def extend(session: Session, attempt_id: int, *, until: datetime) -> bool:
    """Extend the lease of every slot until then; False if the attempt no longer has any.

    The caller has locked the attempt: its leases are several rows, which two statements could lock in two orders.
    """
    return run(session, statements.EXTEND, attempt=attempt_id, expires_at=until).rowcount > 0


def let_go(
    session: Session, attempt: Attempt | Row[Any], *, now: datetime, suspicion: Suspicion | None
) -> list[tuple[str, ServiceState]]:
    """Release every slot and close the endpoint; returns the slots that this put out of service, with their new state.

    A slot that was draining becomes drained. Slots named by `suspicion` are quarantined instead, with the evidence.
    """
    run(session, statements.LET_GO, attempt=attempt.id)
    run(session, statements.CLOSE_ENDPOINT, attempt=attempt.id, closed_at=now)
    suspects = () if suspicion is None else suspicion.slots or tuple(attempt.slot_ids)
    changed = []
    for slot_id in sorted(attempt.slot_ids):
        if suspicion is not None and slot_id in suspects:
            if _condemn(session, slot_id, attempt, suspicion, suspects, now):
                changed.append((slot_id, ServiceState.QUARANTINED))
        elif run(session, statements.NOTE_END, left=slot_id, last_ended_at=now).scalar() is ServiceState.DRAINED:
            changed.append((slot_id, ServiceState.DRAINED))
    return changed


def who_drains(slot: Slot | Row[Any]) -> str | None:
    """The person who is taking the slot out of service; if it is quarantined meanwhile, a canary must not return it to
    service."""
    by_itself = slot.service_state is not ServiceState.DRAINING or slot.quarantined_because is not None
    return None if by_itself else (slot.service_change or {}).get("by")


def _condemn(
    session: Session,
    slot_id: str,
    attempt: Attempt | Row[Any],
    suspicion: Suspicion,
    suspects: Sequence[str],
    now: datetime,
) -> bool:
    at = now.isoformat()
    by = who_drains(run(session, statements.SERVICE, left=slot_id).one())
    reason = suspicion.reason if suspicion.slots else of_one_among(suspicion.reason, suspects)
    because: dict[str, Any] = {
        "reason": reason, "signature": suspicion.signature, "slots": sorted(suspects),
        "evidence": suspicion.evidence, "job_id": attempt.job_id,
        "attempt_id": attempt.id, "by": by, "at": at,
    }  # fmt: skip
    condemned = run(
        session, statements.CONDEMN, left=slot_id, last_ended_at=now, service_state=ServiceState.QUARANTINED,
        quarantined_because=because, service_change={"note": reason, "by": None, "at": at}, resume_requested=None,
    )  # fmt: skip
    return condemned.rowcount > 0
