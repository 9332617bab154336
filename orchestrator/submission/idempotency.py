"""A repeated `Idempotency-Key` creates nothing a second time: the answer is what the earlier request created."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy.orm import Session

from orchestrator.errors import IdempotencyMismatch
from orchestrator.storage.tables import IdempotencyRecord


@dataclass(frozen=True)
class Idempotency:
    """A client's key, and a digest of the whole request sent with it."""

    token_id: int
    key: str
    fingerprint: str


@dataclass(frozen=True)
class Made:
    """What a submission created; `replayed` if an earlier one with the same key created it."""

    jobs: tuple[int, ...]
    pipeline: int | None = None
    batch: int | None = None
    replayed: bool = False


def earlier(session: Session, idempotency: Idempotency | None) -> Made | None:
    """What an earlier request with the same key created; IdempotencyMismatch if that request was different."""
    if idempotency is None:
        return None
    record = session.get(IdempotencyRecord, (idempotency.token_id, idempotency.key))
    if record is None:
        return None
    if record.fingerprint != idempotency.fingerprint:
        raise IdempotencyMismatch(
            "this Idempotency-Key was used for another request; use a new key", field="Idempotency-Key"
        )
    return Made(tuple(record.made["jobs"]), record.made["pipeline"], record.made.get("batch"), replayed=True)


def remember(session: Session, idempotency: Idempotency | None, made: Made, now: datetime) -> None:
    """Store what was created, so that the same key creates nothing more."""
    if idempotency is not None:
        session.add(
            IdempotencyRecord(
                token_id=idempotency.token_id, key=idempotency.key, fingerprint=idempotency.fingerprint,
                made={"jobs": list(made.jobs), "pipeline": made.pipeline, "batch": made.batch}, created_at=now,
            )
        )  # fmt: skip
