"""Doubt backwards: evidence against the cards of a slot makes its results since the last good proof doubtful.

A proof is a canary that passed on the slot, or an attempt there whose answers all equalled their golden ones. A result
in doubt is kept and shown, with the evidence, and is not used for baselines and comparisons until a person lifts the
doubt. Everything is decided by SQL over all attempts of the slot at once.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Select, Text, exists, func, insert, literal, or_, select, update
from sqlalchemy.orm import Session, aliased

from orchestrator.errors import IllegalTransition, NotFound
from orchestrator.jobs.results import MEASURED
from orchestrator.model.doubts import DoubtReason, LiftOrder, reason_of
from orchestrator.model.failures import Failure, Suspicion
from orchestrator.model.states import AttemptState, Until
from orchestrator.storage.database import run
from orchestrator.storage.events import record
from orchestrator.storage.tables import Attempt, Base, Document, Doubt, Job, JobNeed, Metric, Release, Slot

_NO_RESULTS = ("canary", "provision")
"""Kinds of jobs whose attempts are not results: they prove cards, or set a host up."""


@dataclass(frozen=True)
class DoubtFacts:
    """A doubt, and the job whose results it is about."""

    doubt: Doubt
    job_id: int
    job_name: str


def after_suspicion(
    session: Session, attempt_id: int, suspicion: Suspicion, failure: Failure | None, *, now: datetime
) -> int:
    """Cast doubt on earlier results if the end of this attempt is evidence about its cards; returns how many results
    became doubtful. Called in the transaction that quarantines the slots."""
    found = select(Job.id, Job.kind, Job.release, Attempt.slot_ids).join(Attempt, Attempt.job_id == Job.id)
    job = session.execute(found.where(Attempt.id == attempt_id)).one()
    sticky, cast = _sticky(session, job.release), 0
    for slot_id in sorted(suspicion.slots or job.slot_ids):
        reason = reason_of(
            suspicion, failure, canary=job.kind == "canary", sticky=sticky, suspected=_was_suspected(session, slot_id)
        )
        if reason is not None:
            evidence = {
                "reason": suspicion.reason, "signature": suspicion.signature, "job_id": job.id,
                "attempt_id": attempt_id, "slots": sorted(suspicion.slots or job.slot_ids),
            }  # fmt: skip
            cast += doubt_since_last_proof(session, slot_id, reason, evidence, now)
    return cast


def doubt_since_last_proof(
    session: Session, slot_id: str, reason: DoubtReason, evidence: Document, now: datetime, *,
    evident: Collection[int] = (),
) -> int:  # fmt: skip
    """Make every result of a slot since its last proof doubtful, with the evidence and one event; returns how many.

    Without any proof all its results. Jobs in `evident` are left out: their results are the evidence itself, and no
    result is doubted because of what it says. What is doubtful already for the same reason stays as it is."""
    proof = last_proof(session, slot_id)
    said = {**evidence, "proof": None if proof is None else {"attempt_id": proof[0], "job_id": proof[1]}}
    hit = _hit(slot_id, 0 if proof is None else proof[0], now).where(Attempt.job_id.not_in(evident))
    known = exists().where(
        Doubt.attempt_id == Attempt.id, Doubt.slot_id == slot_id, Doubt.reason == reason, Doubt.lifted.is_(None)
    )
    table = Base.metadata.tables["doubt"]
    given = {"slot_id": slot_id, "reason": str(reason), "evidence": said, "at": now}
    literals = [literal(value, table.c[name].type).label(name) for name, value in given.items()]
    rows = hit.where(~known).add_columns(*literals)
    casting = insert(table).from_select(["attempt_id", *given], rows).returning(table.c.id)
    count = len(run(session, casting).all())
    if count:
        record(session, "results.doubted", now, slot_id=slot_id, reason=reason, results=count, evidence=said)
    return count


def of_attempt(session: Session, attempt_id: int, reason: DoubtReason, evidence: Document, *, now: datetime) -> None:
    """Make the result of one attempt doubtful, because of what its cards measured while it ran."""
    attempt = session.execute(select(Attempt.job_id, Attempt.slot_id).where(Attempt.id == attempt_id)).one()
    said = {**evidence, "job_id": attempt.job_id, "attempt_id": attempt_id}
    session.add(Doubt(attempt_id=attempt_id, slot_id=attempt.slot_id, reason=reason, evidence=said, at=now))
    session.flush()
    about = {"job_id": attempt.job_id, "attempt_id": attempt_id, "slot_id": attempt.slot_id}
    record(session, "results.doubted", now, **about, reason=reason, results=1, evidence=said)


def last_proof(session: Session, slot_id: str) -> tuple[int, int] | None:
    """Attempt and job of the last good proof of a slot's cards; None if there is none.

    Attempts on one slot follow each other, so that their ids are in the order of time."""
    exact = exists().where(
        Metric.attempt_id == Attempt.id, Metric.name == "exact_answers", Metric.count > 0, Metric.value == Metric.count
    )
    proven = (
        select(Attempt.id, Attempt.job_id)
        .join(Job, Job.id == Attempt.job_id)
        .where(_on(slot_id, Attempt), Attempt.state == AttemptState.SUCCEEDED, Attempt.suspicion.is_(None))
        .where(or_(Job.kind == "canary", exact))
    )
    row = session.execute(proven.order_by(Attempt.id.desc()).limit(1)).first()
    return None if row is None else (row.id, row.job_id)


def lift(session: Session, order: LiftOrder, *, by: str, now: datetime) -> list[DoubtFacts]:
    """Lift doubts: their results are used again. Returns those that were lifted; audited as one event.

    NotFound names numbers without a doubt; IllegalTransition if none of the doubts still counts."""
    wanted = _listed().where(Doubt.lifted.is_(None))
    if order.doubts:
        numbers = set(order.doubts)
        missing = sorted(numbers - set(session.scalars(select(Doubt.id).where(Doubt.id.in_(numbers)))))
        if missing:
            raise NotFound(f"there is no doubt {', '.join(map(str, missing))}; see: tx81 doubts", field="doubts")
        wanted = wanted.where(Doubt.id.in_(numbers))
    wanted = wanted if order.job is None else wanted.where(Attempt.job_id == order.job)
    wanted = wanted if order.slot is None else wanted.where(Doubt.slot_id == order.slot)
    found = [DoubtFacts(*row) for row in session.execute(wanted.order_by(Doubt.id).with_for_update(of=Doubt))]
    if not found:
        raise IllegalTransition("no doubt that still counts fits: all are lifted, or there was none")
    lifted = {"by": by, "note": order.note, "at": now.isoformat()}
    numbers = {facts.doubt.id for facts in found}
    session.execute(update(Doubt).where(Doubt.id.in_(numbers)).values(lifted=lifted))
    told: dict[str, Any] = {"by": by, "why": order.note, "doubts": sorted(numbers)}
    record(session, "doubt.lifted", now, job_id=order.job, slot_id=order.slot, **told)
    for facts in found:
        session.refresh(facts.doubt)
    return found


def doubts(
    session: Session, *, limit: int, before: int | None = None, job: int | None = None, slot: str | None = None,
    lifted: bool = False,
) -> list[DoubtFacts]:  # fmt: skip
    """Doubts with numbers below `before`, newest first; with `lifted` those too that no longer count."""
    found = _listed().order_by(Doubt.id.desc()).limit(limit)
    found = found if lifted else found.where(Doubt.lifted.is_(None))
    found = found if before is None else found.where(Doubt.id < before)
    found = found if job is None else found.where(Attempt.job_id == job)
    found = found if slot is None else found.where(Doubt.slot_id == slot)
    return [DoubtFacts(*row) for row in session.execute(found)]


def _listed() -> Select[Doubt, int, str]:
    found = select(Doubt, Attempt.job_id, Job.name).join(Attempt, Attempt.id == Doubt.attempt_id)
    return found.join(Job, Job.id == Attempt.job_id)


def _hit(slot_id: str, proof: int, now: datetime) -> Select[Any]:
    """Attempts with results that stand on the slot's cards since that attempt: those that ran there, and those of
    clients whose server ran there at the time."""
    served, client_need = aliased(Attempt), aliased(JobNeed)
    asked = (
        exists()
        .where(client_need.job_id == Attempt.job_id, client_need.until == Until.READY)
        .where(served.job_id == client_need.needs_id, served.id > proof, _on(slot_id, served))
        .where(served.started_at <= Attempt.started_at, func.coalesce(served.ended_at, now) >= Attempt.started_at)
    )
    own = _on(slot_id, Attempt) & (Attempt.id > proof)
    hit = select(Attempt.id).join(Job, Job.id == Attempt.job_id)
    return hit.where(MEASURED, Job.kind.not_in(_NO_RESULTS), or_(own, asked))


def _on(slot_id: str, attempt: Any) -> ColumnElement[bool]:
    """The attempt ran on the slot, alone or among others of the same host. No name of a slot contains a quotation
    mark, so that one is found in the JSON list by its text; the index on `slot_id` narrows the search to the host."""
    leads = select(Slot.id).where(Slot.host == slot_id.rpartition(".")[0]).correlate(None)
    among = attempt.slot_ids.cast(Text).contains(f'"{slot_id}"', autoescape=True)
    found: ColumnElement[bool] = attempt.slot_id.in_(leads) & among
    return found


def _sticky(session: Session, release: str | None) -> frozenset[str]:
    """Signatures of a release that show a broken card."""
    profile = session.scalar(select(Release.profile).where(Release.name == release)) or {}
    return frozenset(each["name"] for each in profile.get("fault_signatures", ()) if each.get("sticky"))


def _was_suspected(session: Session, slot_id: str) -> bool:
    """Whether the slot is in quarantine because unrelated jobs failed there, or because a suite was worse there alone;
    an earlier reason outlives a later one."""
    because = session.scalar(select(Slot.quarantined_because).where(Slot.id == slot_id)) or {}
    evidence = because.get("evidence") or {}
    return bool(evidence.get("attempts") or evidence.get("suite"))
