"""The rows for the score of a slot (`orchestrator.model.suspects`): recently ended attempts, here and on other slots.

Read only when an attempt has failed, or when a slot is shown: a success costs nothing.
"""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, Select, func, select
from sqlalchemy.orm import Session

from orchestrator.model.failures import Failure, Suspicion
from orchestrator.model.states import AttemptState
from orchestrator.model.suspects import Score, Trial, counts, likeness, score
from orchestrator.storage.tables import Attempt, Job, JobInput, Slot

MOST_HERE = 50
MOST_ELSEWHERE = 500
"""Number of latest attempts that are read: an older failure is outweighed by later attempts."""

HALF_LIVES = 7
"""After this number of half-lives, less than a hundredth of a failure remains."""


def score_of(session: Session, slot_id: str, *, now: datetime, half_life: timedelta) -> Score:
    """How suspect a slot is now."""
    return score(slot_id, _trials(session, slot_id, now - HALF_LIVES * half_life), now=now, half_life=half_life)


def after_failure(session: Session, attempt_id: int, *, now: datetime, half_life: timedelta) -> Suspicion | None:
    """Why a slot of a failing attempt comes under suspicion, with the attempts as evidence; or None.

    Of several slots only the one with the highest score; the others stay in service until it has been checked."""
    found = session.execute(_described().where(Attempt.id == attempt_id)).one()
    mine = _trials_of(found, at=now, failed=True)
    scores = {}
    for trial in mine:
        trials = _trials(session, trial.slot_id, now - HALF_LIVES * half_life)
        scores[trial.slot_id] = score(trial.slot_id, [*trials, *mine], now=now, half_life=half_life)
    worst = max(scores, key=lambda slot_id: scores[slot_id].value)
    result = scores[worst]
    if not result.suspect:
        return None
    jobs = ", ".join(str(trial.job_id) for trial in result.failures)
    return Suspicion(
        reason=f"unrelated jobs {jobs} failed here, and such jobs succeed on other slots (score {result.value:.1f})",
        blames_job=False,
        slots=(worst,),
        evidence=evidence(result),
    )


COURSE_DEPTH = 2
"""The course of a score is computed from this number of times the attempts that its value now is."""

MOST_POINTS = 40
"""Moments of a course: each is computed from all attempts before it."""


def course(session: Session, slot_id: str, *, now: datetime, half_life: timedelta) -> list[tuple[datetime, float]]:
    """The score of a slot after each attempt that ended there lately, and now; oldest first, thinned to `MOST_POINTS`.

    It begins where too little is read of other slots to compare with."""
    trials = _trials(session, slot_id, now - HALF_LIVES * half_life, depth=COURSE_DEPTH)
    here = sorted({trial.at for trial in trials if trial.slot_id == slot_id})
    others = [trial.at for trial in trials if trial.slot_id != slot_id]
    if len(others) >= COURSE_DEPTH * MOST_ELSEWHERE:
        here = [at for at in here if at >= min(others)]
    stride = -(-len(here) // (MOST_POINTS - 1)) or 1
    moments = [*here[::-1][::stride][::-1], now]

    def score_at(at: datetime) -> float:
        return score(slot_id, [each for each in trials if each.at <= at], now=at, half_life=half_life).value

    return [(at, round(score_at(at), 2)) for at in moments]


def evidence(result: Score) -> dict[str, Any]:
    """A score as it is stored with a quarantine."""
    attempts = [
        {"attempt_id": trial.attempt_id, "job_id": trial.job_id, "like": trial.likeness, "at": trial.at.isoformat()}
        for trial in result.failures
    ]
    return {"score": round(result.value, 2), "attempts": attempts}


def _trials(session: Session, slot_id: str, since: datetime, depth: int = 1) -> list[Trial]:
    kind = select(Slot.kind).where(Slot.id == slot_id).scalar_subquery()
    ended = _described().where(Attempt.ended_at > since, Job.kind != "canary")
    here = ended.where(Attempt.slot_id == slot_id).order_by(Attempt.ended_at.desc()).limit(depth * MOST_HERE)
    # Includes attempts that had this slot in addition to the one whose worker ran them.
    others = ended.where(Attempt.slot_id != slot_id, Job.slot_kind == kind)
    return [
        trial
        for query in (here, others.order_by(Attempt.ended_at.desc()).limit(depth * MOST_ELSEWHERE))
        for row in session.execute(query)
        for trial in _verdict(row)
    ]


def _described() -> Select[Any]:
    return (
        select(
            Attempt.id, Attempt.job_id, Attempt.slot_id, Attempt.slot_ids, Attempt.ended_at, Attempt.state,
            Attempt.failure, Job.kind,
            Job.spec["model"].as_string().label("model"),
            func.coalesce(JobInput.digest, Job.spec["backend_type"].as_string()).label("image"),
        )
        .join(Job, Job.id == Attempt.job_id)
        .outerjoin(JobInput, (JobInput.job_id == Job.id) & JobInput.name.in_(("kcore", "c_source")))
    )  # fmt: skip


def _verdict(row: Row[Any]) -> list[Trial]:
    """How the attempt counts: as a success, as a failure that a card may have caused, or not at all."""
    if row.state is AttemptState.SUCCEEDED:
        return _trials_of(row, at=row.ended_at, failed=False)
    failed = row.state is AttemptState.FAILED and row.failure is not None
    if failed and counts(row.kind, Failure.model_validate(row.failure).kind):
        return _trials_of(row, at=row.ended_at, failed=True)
    return []


def _trials_of(row: Row[Any], *, at: datetime, failed: bool) -> list[Trial]:
    """One attempt, counted on each of its slots."""
    slots = row.slot_ids or [row.slot_id]
    like = likeness(row.kind, row.model, row.image)
    return [Trial(row.id, row.job_id, slot_id, at, like, failed, share=1 / len(slots)) for slot_id in slots]
