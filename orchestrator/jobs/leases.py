"""An attempt's leases on its slots: taken, extended and given back together, or not at all; with it ends its endpoint.

Part of the arrows of `orchestrator.jobs.lifecycle`, in their transactions. Slots are always taken and left in the order
of their ids, so that two attempts that want some of the same slots never wait for each other in a circle.
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
    """Lease each slot to its attempt; one that is leased already refuses them all, and the transaction with them."""
    rows = [
        {"slot_id": slot_id, "attempt_id": attempt_id, "expires_at": until} for slot_id, attempt_id in sorted(wanted)
    ]
    database.run_for(session, statements.LEASE, rows)


def extend(session: Session, attempt_id: int, *, until: datetime) -> bool:
    """Extend the lease of every slot until then; False if the attempt has none any more.

    The caller has locked the attempt: its leases are several rows, which two statements could lock in two orders.
    """
    return run(session, statements.EXTEND, attempt=attempt_id, expires_at=until).rowcount > 0


def let_go(
    session: Session, attempt: Attempt | Row[Any], *, now: datetime, suspicion: Suspicion | None
) -> list[tuple[str, ServiceState]]:
    """Give every slot back and close its endpoint; returns the slots it put out of service, and what they are now.

    A slot that was draining is drained. Those that `suspicion` speaks of are quarantined instead, with the evidence.
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
    """The person who is taking the slot out of service; if it is quarantined meanwhile, no canary may undo that."""
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
