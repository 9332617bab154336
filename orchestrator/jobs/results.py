"""What an attempt that measured something produced, as rows: its answers and its metrics.

They are written in the transaction that ends the attempt (`lifecycle.finish`), or not at all.
"""

from collections.abc import Iterable

from sqlalchemy import ColumnElement, insert
from sqlalchemy.orm import Session

from orchestrator.model.failures import WITH_RESULTS
from orchestrator.model.states import AttemptState
from orchestrator.results.answers import CheckedAnswer
from orchestrator.results.metrics import Measured
from orchestrator.storage.database import run_for
from orchestrator.storage.tables import Attempt, Base

MEASURED: ColumnElement[bool] = (Attempt.state == AttemptState.SUCCEEDED) | (
    (Attempt.state == AttemptState.FAILED) & Attempt.failure["kind"].as_string().in_(WITH_RESULTS)
)
"""Attempts whose results were stored."""

_ANSWERS, _METRICS = (insert(Base.metadata.tables[name]) for name in ("answer", "metric"))
"""On plain tables, which is several times faster."""


def add_answers(session: Session, attempt_id: int, answers: Iterable[CheckedAnswer]) -> None:
    """Store the answers, each with its reference."""
    rows = [
        {
            "attempt_id": attempt_id, "batch": given.lane, "batch_size": given.batch_size, "repeat": given.repeat,
            "index": given.index, "question": given.question, "text": given.text, "prompt_tokens": given.prompt_tokens,
            "output_tokens": given.output_tokens, "seconds": given.seconds, "ttft_seconds": given.ttft_seconds,
            "finish_reason": given.finish_reason, "golden": checked.golden, "exact": checked.exact,
        }
        for checked in answers
        for given in [checked.given]
    ]  # fmt: skip
    run_for(session, _ANSWERS, rows)


def add_metrics(session: Session, attempt_id: int, metrics: Iterable[Measured]) -> None:
    """Store the metrics, each with its unit and its definition."""
    rows = [
        {
            "attempt_id": attempt_id, "name": number.name, "value": number.value, "unit": number.unit,
            "definition": number.definition, "count": number.count, "counter": number.counter,
        }
        for number in metrics
    ]  # fmt: skip
    run_for(session, _METRICS, rows)
