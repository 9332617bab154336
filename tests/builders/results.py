"""Runs with results, to be compared."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import insert
from sqlalchemy.orm import Session

from builders.rows import A_MOMENT, a_job_row, an_attempt
from orchestrator.model.batches import StopOn
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.tables import Answer, Attempt, Batch, Doubt, Job, JobInput, Metric

KCORE, PROMPTS = "sha256:" + "c" * 64, "sha256:" + "d" * 64
DEFINED = {
    "output_throughput": ("tokens/s", "output_throughput/process_wall", "tool"),
    "ttft_seconds_p50": ("s", "ttft_seconds/tool", None),
    "prompt_tokens": ("tokens", "prompt_tokens/sum", "tool"),
}


def a_run(
    session: Session,
    answers: Mapping[str, str | Sequence[str]] | None = None,
    metrics: Mapping[str, float] | None = None,
    *,
    golden: Mapping[str, str] | None = None,
    state: JobState = JobState.SUCCEEDED,
    spec: Mapping[str, Any] | None = None,
    inputs: Mapping[str, Any] | None = None,
    slot: str = "lab1.g0",
    **facts: Any,
) -> int:
    """The number of an inference that answered these questions, each once or, by a list, in so many repeats."""
    given = {"kind": "infer", "model": "qwen", "kcore": {"digest": KCORE}, "prompts": {"digest": PROMPTS}}
    job = a_job_row(session, request={"spec": {**given, **(spec or {})}}, state=state, ended_at=A_MOMENT, **facts)
    for name, digest in {"kcore": KCORE, "prompts": PROMPTS, **(inputs or {})}.items():
        source = digest if isinstance(digest, Mapping) else {"digest": digest}
        if digest is not None:
            session.add(JobInput(job_id=job.id, name=name, **source))
    succeeded = state is JobState.SUCCEEDED
    attempt = an_attempt(session, job, slot_id=slot, state=AttemptState.SUCCEEDED if succeeded else AttemptState.FAILED)
    add_results(session, attempt, answers or {}, metrics or {}, golden or {})
    return job.id


def add_results(
    session: Session,
    attempt: Attempt,
    answers: Mapping[str, str | Sequence[str]],
    metrics: Mapping[str, float],
    golden: Mapping[str, str],
) -> None:
    rows = [
        {
            "attempt_id": attempt.id, "repeat": repeat, "index": index, "batch": 0, "question": question, "text": text,
            "golden": golden.get(question), "exact": text == golden[question] if question in golden else None,
        }
        for index, (question, texts) in enumerate(answers.items())
        for repeat, text in enumerate([texts] if isinstance(texts, str) else texts, start=1)
    ]  # fmt: skip
    if rows:
        session.execute(insert(Answer), rows)
    for name, value in metrics.items():
        unit, definition, counter = DEFINED[name]
        session.add(
            Metric(
                attempt_id=attempt.id, name=name, value=value, unit=unit, definition=definition, count=1,
                counter=counter,
            )
        )  # fmt: skip
    session.flush()


def a_batch(session: Session) -> int:
    """The number of a batch that has no jobs yet."""
    batch = Batch(
        name="b", project="default", stop_on=StopOn.NEVER, size=1, left_out={}, created_at=A_MOMENT,
        touched_at=A_MOMENT, sealed_at=A_MOMENT,
    )  # fmt: skip
    session.add(batch)
    session.flush()
    return batch.id


def in_doubt(session: Session, job_id: int) -> None:
    """Nobody trusts the cards of a job any more."""
    job = session.get_one(Job, job_id)
    attempt = session.query(Attempt).where(Attempt.job_id == job.id).order_by(Attempt.id.desc()).first()
    assert attempt is not None
    session.add(Doubt(attempt_id=attempt.id, slot_id=attempt.slot_id, reason="canary_failed", evidence={}, at=A_MOMENT))
    session.flush()
