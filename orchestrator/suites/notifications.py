"""Notifications: targets, their messages, and `announce`, which judging calls.

Messages are sent by `sending.py`, outside every transaction.
"""

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from orchestrator.errors import AlreadyExists, BadRequest, IllegalTransition, NotFound
from orchestrator.model.notifications import (
    MOST_TARGETS,
    SECRET_BYTES,
    DeliveryState,
    News,
    TargetKind,
    TargetRequest,
    new_secret,
)
from orchestrator.model.verdicts import Verdict
from orchestrator.results.changes import change_of
from orchestrator.settings import Settings
from orchestrator.storage import outbox
from orchestrator.storage.database import Database
from orchestrator.storage.events import record
from orchestrator.storage.tables import Delivery, NotificationTarget
from orchestrator.suites import channels


def announce(
    session: Session, subject: str, old: Verdict | None, new: Verdict, facts: Mapping[str, Any], *, now: datetime
) -> int:
    """Tell every target that the verdict on a subject has changed, in the caller's transaction; returns how many.

    Only changes of state are announced: good to bad, bad to good, could not be judged. `facts` are JSON values; `why`,
    if it is there, becomes part of the text."""
    change = change_of(old, new)
    if change is None:
        return 0
    why = f": {facts['why']}" if facts.get("why") else ""
    told = {"old": None if old is None else str(old), "new": str(new), **facts}
    return outbox.put(session, change, subject, f"{subject} is {new}, was {old or 'not judged'}{why}", told, now=now)


# ── targets ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def add_target(
    database: Database, settings: Settings, request: TargetRequest, *, by: str
) -> tuple[NotificationTarget, str | None]:
    """A new target, and the secret of its signatures, which is shown this one time.

    BadRequest if its URL cannot be called, AlreadyExists if the name is taken."""
    channels.check(request.kind, request.url, settings)
    secret = new_secret(secrets.token_bytes(SECRET_BYTES)) if request.kind is TargetKind.WEBHOOK else None
    try:
        with database.write() as session:
            if (session.scalar(select(func.count()).select_from(NotificationTarget)) or 0) >= MOST_TARGETS:
                raise BadRequest(f"there are {MOST_TARGETS} targets already: remove one", field="name")
            now = database.now(session)
            row = NotificationTarget(
                name=request.name, kind=request.kind, url=request.url, secret=secret, created_by=by, created_at=now
            )
            session.add(row)
            session.flush()
            record(session, "notification.added", now, name=row.name, target_kind=str(row.kind), by=by)
    except IntegrityError:
        raise AlreadyExists(f"there is a target {request.name} already; choose another name", field="name") from None
    return row, secret


def targets(session: Session) -> Sequence[NotificationTarget]:
    """All targets by name."""
    return session.scalars(select(NotificationTarget).order_by(NotificationTarget.name)).all()


def target(session: Session, name: str) -> NotificationTarget:
    """One target; NotFound if there is none."""
    row = session.get(NotificationTarget, name)
    if row is None:
        raise NotFound(f"there is no target {name}; see: tx81 notify", field="name")
    return row


def remove_target(database: Database, name: str, *, by: str) -> None:
    """Remove a target with all its messages; one that is being sent may still arrive."""
    with database.write() as session:
        row = target(session, name)
        session.execute(delete(Delivery).where(Delivery.target == name))
        session.delete(row)
        record(session, "notification.removed", database.now(session), name=name, by=by)


# ── messages ──────────────────────────────────────────────────────────────────────────────────────────────────────────


def test(database: Database, name: str, *, by: str) -> Delivery:
    """A message to try a target with."""
    with database.write() as session:
        target(session, name)
        now = database.now(session)
        return outbox.add(session, name, News.TEST, "test", f"a test message, ordered by {by}", {"by": by}, now=now)


def deliveries(session: Session, name: str, *, limit: int, before: int | None = None) -> Sequence[Delivery]:
    """Messages to a target with numbers below `before`, newest first."""
    target(session, name)
    found = select(Delivery).where(Delivery.target == name).order_by(Delivery.id.desc()).limit(limit)
    return session.scalars(found if before is None else found.where(Delivery.id < before)).all()


def resend(database: Database, name: str, delivery_id: int) -> Delivery:
    """Send a message again that has ended, or now instead of later; a receiver knows it by the same `webhook-id`.

    IllegalTransition while it waits for its first attempt."""
    with database.write() as session:
        row = session.get(Delivery, delivery_id, with_for_update=True)
        if row is None or row.target != name:
            raise NotFound(f"target {name} has no message {delivery_id}", delivery=delivery_id)
        if row.state is DeliveryState.PENDING and row.attempts == 0:
            raise IllegalTransition(f"message {delivery_id} is waiting to be sent already", delivery=delivery_id)
        row.state, row.attempts, row.next_at = DeliveryState.PENDING, 0, database.now(session)
        row.delivered_at = None
        return row
