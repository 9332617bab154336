"""Whose a slot is, and whether it may be given work: every arrow of a slot, as one function each.

People drain, resume and quarantine slots here; the end of an attempt makes a draining slot drained and a suspect one
quarantined (`orchestrator.jobs.lifecycle`, in the same transaction). Who calls `drain`, `resume`, `quarantine` or
`suspect` holds the door of admission (`Database.serialise`), so that nothing is placed on the slot meanwhile.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import IllegalTransition, NotFound
from orchestrator.jobs import leases
from orchestrator.jobs.lifecycle import withdraw
from orchestrator.model.failures import of_one_among
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, ServiceState
from orchestrator.storage.events import record
from orchestrator.storage.tables import Attempt, Document, Lease, Slot

# ── the worker's arrows ──────────────────────────────────────────────────────────────────────────────────────────────


# ── people's arrows ──────────────────────────────────────────────────────────────────────────────────────────────────


def drain(session: Session, slot_id: str, *, by: str, note: str | None, now: datetime) -> None:
    """Let the slot finish what it runs and take no more; drained at once if nothing runs.

    What is assigned to it and not begun goes back to the queue. A slot that is draining or drained stays so.
    IllegalTransition if it is quarantined, which is more.
    """
    _empty(session, slot_id, now, f"{slot_id} is drained")
    slot = _locked(session, slot_id)
    if slot.service_state is ServiceState.QUARANTINED:
        raise IllegalTransition(f"{slot_id} is already quarantined; resume it when it is repaired", slot=slot_id)
    if slot.service_state is ServiceState.IN_SERVICE:
        # After the lock: an attempt that ends now waits for it, and finds the slot draining.
        busy = session.scalar(select(Lease.attempt_id).where(Lease.slot_id == slot_id)) is not None
        _serve(session, slot, ServiceState.DRAINING if busy else ServiceState.DRAINED, by, note, now)


def resume(session: Session, slot_id: str, *, by: str, note: str | None, now: datetime) -> None:
    """Give the slot work again: at once, or if its cards came under suspicion, when its worker has proven them free.

    Only the worker can look at the cards; until it has (`answer_resume`), the slot stays as it is, `resume_requested`.
    """
    slot = _locked(session, slot_id)
    if slot.service_state is ServiceState.IN_SERVICE:
        return
    if slot.quarantined_because is not None and SlotName.parse(slot.name).cards:
        slot.resume_requested = {"by": by, "note": note, "at": now.isoformat()}
        session.flush()
        record(session, "slot.resume_requested", now, slot_id=slot_id, by=by, note=note)
    else:
        slot.quarantined_because = None
        _serve(session, slot, ServiceState.IN_SERVICE, by, note, now)


def quarantine(session: Session, slot_id: str, *, by: str, note: str | None, now: datetime) -> None:
    """Give the slot no work until a person resumes it; what runs there goes on, what has not begun is taken back.

    A slot that is quarantined stays so, with the evidence there is; no canary brings it back any more.
    """
    _empty(session, slot_id, now, f"{slot_id} is quarantined")
    slot = _locked(session, slot_id)
    if slot.service_state is not ServiceState.QUARANTINED:
        slot.quarantined_because = _evidence(note or "quarantined by hand", by, now)
        _serve(session, slot, ServiceState.QUARANTINED, by, note, now)
    elif slot.quarantined_because is not None and slot.quarantined_because.get("by") is None:
        slot.quarantined_because = {**slot.quarantined_because, "by": by}
        _serve(session, slot, ServiceState.QUARANTINED, by, note, now)


def suspect(
    session: Session, slot_id: str, *, worker: str, reason: str, now: datetime, others: Sequence[str] = (),
    evidence: Document | None = None,
) -> None:  # fmt: skip
    """Quarantine a slot on the word of its worker, without an attempt's end, and `others` that its attempt held too.

    Nothing if the slot is another worker's. What was placed there meanwhile, and has not begun, is taken back. A slot
    that is drained stays so, lest a canary brings back what somebody took out; what is said is kept for its `resume`.
    """
    if session.scalar(select(Slot.worker).where(Slot.id == slot_id)) != worker:
        return
    suspects = sorted({slot_id, *others})
    told = of_one_among(reason, suspects)
    for suspected in suspects:
        _empty(session, suspected, now, f"{suspected} is quarantined")
    for suspected in suspects:
        slot = _locked(session, suspected)
        said = {**_evidence(told, leases.who_drains(slot), now), "evidence": evidence}
        if slot.service_state is ServiceState.DRAINED:
            slot.quarantined_because = slot.quarantined_because or said
            session.flush()
        elif slot.service_state is not ServiceState.QUARANTINED:
            slot.quarantined_because = said
            _serve(session, slot, ServiceState.QUARANTINED, None, told, now)


# ── the arrows of an attempt that sets up the slot's host ────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Before:
    """How a slot stood when it was taken over."""

    state: ServiceState
    change: Document | None
    because: Document | None


def take_over(
    session: Session, slot_id: str, *, by: str, note: str, reason: str, job_id: int, attempt_id: int, now: datetime
) -> Before:  # fmt: skip
    """Drain a slot for the attempt that holds it, whatever its state: it is drained when that ends, however it ends.

    `reason` speaks against the slot from now on: an attempt whose worker dies has no last word to say it with. A slot
    that a person has quarantined stays as it is.
    """
    slot = _locked(session, slot_id)
    before = Before(slot.service_state, slot.service_change, slot.quarantined_because)
    if not _quarantined_by_a_person(slot):
        slot.quarantined_because = {**_evidence(reason, None, now), "job_id": job_id, "attempt_id": attempt_id}
        _serve(session, slot, ServiceState.DRAINING, by, note, now, job_id=job_id)
    return before


def hand_back(session: Session, slot_id: str, before: Before, *, note: str, job_id: int, now: datetime) -> None:
    """Let the slot be what it was before it was taken over, because its host is as it was.

    Nothing if a person has decided otherwise meanwhile."""
    slot = _locked(session, slot_id)
    if slot.service_state is ServiceState.DRAINING:
        _serve(session, slot, before.state, None, note, now, job_id=job_id)
        slot.service_change, slot.quarantined_because = before.change, before.because
        session.flush()


def keep_out(session: Session, slot_id: str, *, reason: str, job_id: int, attempt_id: int, now: datetime) -> None:
    """Leave a slot drained, with the reason, when the attempt that has taken it over ends.

    `resume` looks at its cards first, as for any slot that something speaks against."""
    slot = _locked(session, slot_id)
    if not _quarantined_by_a_person(slot):
        slot.quarantined_because = {**_evidence(reason, None, now), "job_id": job_id, "attempt_id": attempt_id}
        _serve(session, slot, ServiceState.DRAINING, None, reason, now, job_id=job_id)


# ── the way back of a slot under suspicion ───────────────────────────────────────────────────────────────────────────


def answer_resume(
    session: Session, slot_id: str, *, worker: str, now: datetime, refusal: str | None, evidence: Document | None
) -> None:
    """Do what a person asked with `resume`, or refuse it with what the probe saw; nothing if nobody asks any more."""
    slot = _locked(session, slot_id)
    asked = slot.resume_requested
    if asked is None or slot.worker != worker:
        return
    if refusal is None:
        slot.quarantined_because = None
        _serve(session, slot, ServiceState.IN_SERVICE, asked["by"], asked["note"], now)
        return
    refused = {"reason": refusal, "evidence": evidence, "by": asked["by"], "at": now.isoformat()}
    slot.quarantined_because = {**(slot.quarantined_because or {}), "resume_refused": refused}
    slot.resume_requested = None
    session.flush()
    record(session, "slot.resume_refused", now, slot_id=slot_id, by=asked["by"], reason=refusal, evidence=evidence)


def restore(session: Session, slot_id: str, *, job_id: int, now: datetime) -> None:
    """Give a quarantined slot work again because a canary has passed there."""
    slot = _locked(session, slot_id)
    if slot.service_state is ServiceState.QUARANTINED:
        slot.quarantined_because = None
        note = f"canary job {job_id} passed"
        _serve(session, slot, ServiceState.IN_SERVICE, None, note, now, job_id=job_id)


def give_up(session: Session, slot_id: str, *, jobs: Sequence[int], now: datetime) -> None:
    """Leave a quarantined slot to people, with its evidence, because so many canaries have failed there."""
    slot = _locked(session, slot_id)
    if slot.service_state is ServiceState.QUARANTINED:
        note = f"canary jobs {', '.join(map(str, jobs))} failed in a row"
        _serve(session, slot, ServiceState.DRAINED, None, note, now, job_id=jobs[-1], canaries=list(jobs))


# ── shared steps ─────────────────────────────────────────────────────────────────────────────────────────────────────


def _quarantined_by_a_person(slot: Slot) -> bool:
    quarantined = slot.service_state is ServiceState.QUARANTINED
    return quarantined and (slot.quarantined_because or {}).get("by") is not None


def _locked(session: Session, slot_id: str) -> Slot:
    slot = session.get(Slot, slot_id, populate_existing=True, with_for_update={"key_share": True})
    if slot is None:
        raise NotFound(f"there is no slot {slot_id}: slots are written HOST.g3; see GET /api/v1/slots", slot=slot_id)
    return slot


def _empty(session: Session, slot_id: str, now: datetime, why: str) -> None:
    """Take back what is assigned to the slot and not begun; before the slot is locked, as a job's rows come first."""
    unclaimed = (
        select(Lease.attempt_id)
        .join(Attempt, Attempt.id == Lease.attempt_id)
        .where(Lease.slot_id == slot_id, Attempt.state == AttemptState.ASSIGNED)
    )
    for attempt_id in session.scalars(unclaimed).all():
        withdraw(session, attempt_id, now=now, why=why)


def _evidence(reason: str, by: str | None, now: datetime) -> dict[str, Any]:
    """Of a quarantine that no attempt's end is the cause of."""
    return {
        "reason": reason, "signature": None, "job_id": None, "attempt_id": None, "by": by, "at": now.isoformat(),
    }  # fmt: skip


def _serve(
    session: Session, slot: Slot, state: ServiceState, by: str | None, note: str | None, now: datetime, **about: Any
) -> None:
    start, slot.service_state, slot.resume_requested = slot.service_state, state, None
    slot.service_change = {"by": by, "note": note, "at": now.isoformat()}
    session.flush()
    kind = "resumed" if state is ServiceState.IN_SERVICE else state
    record(session, f"slot.{kind}", now, slot_id=slot.id, by=by, note=note, start=start, **about)
