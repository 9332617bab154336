"""Runs that have ended with numbers and answers."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy.orm import Session

from builders.lifecycle import now
from builders.rows import a_job_row, a_slot_row, an_attempt
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.tables import Answer, Attempt, Metric


def a_result(
    session: Session, metrics: Mapping[str, float] | None = None, answers: Sequence[str] = (), *,
    slots: Sequence[str] = ("lab1.g0",), exact: Sequence[bool] = (), **facts: Any,
) -> Attempt:  # fmt: skip
    """An attempt that succeeded on these slots, with one number for each metric and one answer for each text."""
    job = a_job_row(session, **{"state": JobState.SUCCEEDED, "ended_at": now(), **facts})
    for slot in slots:
        a_slot_row(session, slot)
    attempt = an_attempt(
        session, job, slot_id=slots[0], slot_ids=list(slots), state=AttemptState.SUCCEEDED, ended_at=now()
    )
    session.add_all(
        Metric(attempt_id=attempt.id, name=name, value=value, unit="s", definition=name, count=1)
        for name, value in (metrics or {}).items()
    )
    session.add_all(
        Answer(
            attempt_id=attempt.id, repeat=0, index=index, question=f"问题{index}", text=text,
            exact=exact[index] if exact else None,
        )
        for index, text in enumerate(answers)
    )  # fmt: skip
    session.flush()
    return attempt
