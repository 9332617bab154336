"""The service state of a slot, which decides whether it gets work: every transition as one function.

Users drain, resume and quarantine slots here; the end of an attempt makes a draining slot drained and a suspect one
quarantined (`orchestrator.jobs.lifecycle`, in the same transaction). A caller of `drain`, `resume`,
`quarantine` or `suspect` holds the admission lock (`Database.serialise`), so that nothing is placed on the slot
meanwhile.
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

# ── transitions by users ──────────────────────────────────────────────────────────────────────────────────────────────


def drain(session: Session, slot_id: str, *, by: str, note: str | None, now: datetime) -> None:
    """Let the slot finish its job and accept no more; it is drained at once if nothing runs.

    A job that is assigned to it and has not started returns to the queue. A draining or drained slot is left unchanged.
    IllegalTransition if it is quarantined.
    """
    _empty(session, slot_id, now, f"{slot_id} is drained")
    slot = _locked(session, slot_id)
    if slot.service_state is ServiceState.QUARANTINED:
        raise IllegalTransition(f"{slot_id} is already quarantined; resume it when it is repaired", slot=slot_id)
    if slot.service_state is ServiceState.IN_SERVICE:
        # After the slot is locked: an attempt that ends now waits for the lock, and finds the slot draining.
        busy = session.scalar(select(Lease.attempt_id).where(Lease.slot_id == slot_id)) is not None
        _serve(session, slot, ServiceState.DRAINING if busy else ServiceState.DRAINED, by, note, now)


def resume(session: Session, slot_id: str, *, by: str, note: str | None, now: datetime) -> None:
    """Return the slot to service: at once, or if its cards are under suspicion, when its worker has proven them free.

    Only the worker can probe the cards; until it has (`answer_resume`), the slot stays as it is, `resume_requested`.
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
    """Give the slot no work until a person resumes it; a running job continues, a job that has not started is
    withdrawn.

    A quarantined slot stays quarantined, with its evidence; a canary no longer returns it to service.
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
    """Quarantine a slot on its worker's report, without an attempt's end, and `others` that its attempt had leased too.

    Does nothing if the slot belongs to another worker. A job that was placed there meanwhile and has not started is
    withdrawn. A drained slot stays drained, so that no canary returns to service what a person took out; the evidence
    is kept for its `resume`.
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


# ── transitions by an attempt that sets up the slot's host ────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class Before:
    """The state of a slot when it was taken over."""

    state: ServiceState
    change: Document | None
    because: Document | None


def take_over(
    session: Session, slot_id: str, *, by: str, note: str, reason: str, job_id: int, attempt_id: int, now: datetime
) -> Before:  # fmt: skip
    """Drain a slot for the attempt that has leased it, whatever its state: it is drained when that ends, however it
    ends.

    `reason` is stored as evidence against the slot now, because an attempt whose worker dies can no longer report it. A
    slot that a person has quarantined is left unchanged.
    """
    slot = _locked(session, slot_id)
    before = Before(slot.service_state, slot.service_change, slot.quarantined_because)
    if not _quarantined_by_a_person(slot):
        slot.quarantined_because = {**_evidence(reason, None, now), "job_id": job_id, "attempt_id": attempt_id}
        _serve(session, slot, ServiceState.DRAINING, by, note, now, job_id=job_id)
    return before


def hand_back(session: Session, slot_id: str, before: Before, *, note: str, job_id: int, now: datetime) -> None:
    """Restore the state that the slot had before it was taken over, because its host is unchanged.

    Does nothing if a person has changed the slot meanwhile."""
    slot = _locked(session, slot_id)
    if slot.service_state is ServiceState.DRAINING:
        _serve(session, slot, before.state, None, note, now, job_id=job_id)
        slot.service_change, slot.quarantined_because = before.change, before.because
        session.flush()


def keep_out(session: Session, slot_id: str, *, reason: str, job_id: int, attempt_id: int, now: datetime) -> None:
    """Leave a slot drained, with the reason, when the attempt that has taken it over ends.

    `resume` probes its cards first, as for any slot with evidence against it."""
    slot = _locked(session, slot_id)
    if not _quarantined_by_a_person(slot):
        slot.quarantined_because = {**_evidence(reason, None, now), "job_id": job_id, "attempt_id": attempt_id}
        _serve(session, slot, ServiceState.DRAINING, None, reason, now, job_id=job_id)


# ── return of a suspected slot to service ─────────────────────────────────────────────────────────────────────────────


def answer_resume(
    session: Session, slot_id: str, *, worker: str, now: datetime, refusal: str | None, evidence: Document | None
) -> None:
    """Complete a requested `resume`, or refuse it with the finding of the probe; does nothing if it is no longer
    requested."""
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
    """Return a quarantined slot to service because a canary has passed there."""
    slot = _locked(session, slot_id)
    if slot.service_state is ServiceState.QUARANTINED:
        slot.quarantined_because = None
        note = f"canary job {job_id} passed"
        _serve(session, slot, ServiceState.IN_SERVICE, None, note, now, job_id=job_id)


def give_up(session: Session, slot_id: str, *, jobs: Sequence[int], strayed: bool, now: datetime) -> None:
    """Require a person to resume a quarantined slot, because this number of canaries have failed there; keeps its
    evidence. `strayed`: they were on other cards, which is no evidence about these."""
    slot = _locked(session, slot_id)
    if slot.service_state is ServiceState.QUARANTINED:
        note = f"canary jobs {', '.join(map(str, jobs))} failed in a row"
        if strayed:
            note += ": their tool was not on these cards (wrong_cards), so the profile or the tool is at fault"
        _serve(session, slot, ServiceState.DRAINED, None, note, now, job_id=jobs[-1], canaries=list(jobs))


# ── shared steps ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _quarantined_by_a_person(slot: Slot) -> bool:
    quarantined = slot.service_state is ServiceState.QUARANTINED
    return quarantined and (slot.quarantined_because or {}).get("by") is not None


def _locked(session: Session, slot_id: str) -> Slot:
    slot = session.get(Slot, slot_id, populate_existing=True, with_for_update={"key_share": True})
    if slot is None:
        raise NotFound(f"there is no slot {slot_id}: slots are written HOST.g3; see: tx81 slots", slot=slot_id)
    return slot


def _empty(session: Session, slot_id: str, now: datetime, why: str) -> None:
    """Withdraw a job that is assigned to the slot and has not started; before the slot is locked, since job rows are
    locked first."""
    unclaimed = (
        select(Lease.attempt_id)
        .join(Attempt, Attempt.id == Lease.attempt_id)
        .where(Lease.slot_id == slot_id, Attempt.state == AttemptState.ASSIGNED)
    )
    for attempt_id in session.scalars(unclaimed).all():
        withdraw(session, attempt_id, now=now, why=why)


def _evidence(reason: str, by: str | None, now: datetime) -> dict[str, Any]:
    """Evidence of a quarantine that was not caused by the end of an attempt."""
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
