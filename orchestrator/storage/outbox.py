"""Messages, written in the transaction in which the state changed: none is lost, and none is about a rollback."""

import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.model.notifications import GOOD_NEWS, DeliveryState, News
from orchestrator.storage.tables import Delivery, NotificationTarget

_LONGEST_TEXT = 1000


def put(session: Session, change: News, subject: str, text: str, facts: Mapping[str, Any], *, now: datetime) -> int:
    """A message to every target; good news only to those that got the bad news. Returns how many."""
    names = session.scalars(select(NotificationTarget.name).order_by(NotificationTarget.name)).all()
    told = [name for name in names if change not in GOOD_NEWS or _in_trouble(session, name, subject)]
    for name in told:
        add(session, name, change, subject, text, facts, now=now)
    return len(told)


def add(
    session: Session, target: str, change: News, subject: str, text: str, facts: Mapping[str, Any], *, now: datetime
) -> Delivery:
    """A message to one target, to be sent at once."""
    data = {"subject": subject, "text": text[:_LONGEST_TEXT], **facts}
    row = Delivery(
        target=target, message_id=f"msg_{secrets.token_urlsafe(20)}", subject=subject[:200], type=str(change),
        document={"type": str(change), "timestamp": now.isoformat(), "data": data},
        state=DeliveryState.PENDING, attempts=0, next_at=now, created_at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row


def note_event(
    session: Session, kind: str, now: datetime, columns: Mapping[str, Any], about: Mapping[str, Any]
) -> None:
    """Announce an event that changes the state of a slot or a host; all other events are none of its business."""
    told = _ANNOUNCED.get(kind)
    if told is None or about.get("start", "") == _SAME.get(kind):
        return
    subject, text, names = told(columns, about)
    facts = {name: about[name] for name in names if about.get(name) is not None}
    put(session, News(kind), subject, text, facts, now=now)


def _in_trouble(session: Session, target: str, subject: str) -> bool:
    """Whether the latest message to a target about this subject was bad news."""
    latest = select(Delivery.type).where(Delivery.target == target, Delivery.subject == subject)
    kind = session.scalar(latest.order_by(Delivery.id.desc()).limit(1))
    return kind is not None and kind not in GOOD_NEWS


Told = tuple[str, str, tuple[str, ...]]


def _quarantined(columns: Mapping[str, Any], about: Mapping[str, Any]) -> Told:
    slot, why = columns["slot_id"], about.get("note") or about.get("reason") or "no reason given"
    return f"slot {slot}", f"{slot} is quarantined: {why}", ("by", "note", "reason", "signature")


def _resumed(columns: Mapping[str, Any], about: Mapping[str, Any]) -> Told:
    slot, note = columns["slot_id"], about.get("note")
    return f"slot {slot}", f"{slot} is back in service" + (f": {note}" if note else ""), ("by", "note")


def _away(columns: Mapping[str, Any], about: Mapping[str, Any]) -> Told:
    host = about["host"]
    return f"host {host}", f"host {host} is away: {about['why']}", ("away_since", "slots", "why")


def _back(columns: Mapping[str, Any], about: Mapping[str, Any]) -> Told:
    return f"host {about['host']}", f"host {about['host']} is back", ("away_since",)


_ANNOUNCED: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Told]] = {
    News.QUARANTINED: _quarantined,
    News.RESUMED: _resumed,
    News.AWAY: _away,
    News.BACK: _back,
}
_SAME: Mapping[str, str] = {News.QUARANTINED: "quarantined", News.RESUMED: "in_service"}
"""The state before, of an event that changes nothing."""
