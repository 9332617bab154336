"""Sends the messages that are due, in threads of the leading dispatcher: a receiver that never answers delays nobody.

A message is claimed in SQL before it is sent, and its outcome is written afterwards. If the process dies in between,
the claim ends and the message is sent again: it arrives at least once, always under the same `webhook-id`.
"""

import logging
import random
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from orchestrator.model.notifications import DeliveryState, pause_after
from orchestrator.settings import Settings
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Delivery, NotificationTarget
from orchestrator.suites.channels import Message, Sent, send

log = logging.getLogger("tx81.notifications")

MOST_AT_ONCE = 4
"""Messages that are sent at the same time, to as many targets: one target has one at a time."""

CLAIM = timedelta(minutes=3)
"""Longer than the longest attempt."""

KEPT = timedelta(days=30)
"""How long a message that has ended stays in the log."""

MOST_LOOKED_AT = 500
"""Due messages among which the first of each target is found."""

_DUE = (
    select(Delivery.id, Delivery.target, Delivery.attempts, Delivery.next_at)
    .where(Delivery.state == DeliveryState.PENDING)
    .order_by(Delivery.next_at, Delivery.id)
)


@dataclass(frozen=True)
class _Claim:
    delivery: int
    target: str
    attempts: int
    """This one included."""
    message: Message


class MessageSender:
    """Sends messages; `tend` returns at once."""

    def __init__(self, database: Database, settings: Settings, chance: Callable[[], float] = random.random) -> None:
        self._database = database
        self._settings = settings
        self._chance = chance
        self._busy: dict[str, threading.Thread] = {}
        """Target → who sends to it now."""

    def tend(self) -> int:
        """Begin to send what is due, as far as there is room; returns how many were begun."""
        self._busy = {name: thread for name, thread in self._busy.items() if thread.is_alive()}
        claims = self._claims(MOST_AT_ONCE - len(self._busy))
        for claim in claims:
            # A daemon: the end of the process does not wait for a receiver.
            thread = threading.Thread(target=self._send, args=[claim], name=f"to {claim.target}", daemon=True)
            self._busy[claim.target] = thread
            thread.start()
        return len(claims)

    def finish(self) -> None:
        """Wait until all that was begun has ended."""
        for thread in self._busy.values():
            thread.join()

    def forget_old(self) -> int:
        """Remove messages that ended long ago; returns how many."""
        with self._database.write() as session:
            old = Delivery.created_at < self._database.now(session) - KEPT
            gone = delete(Delivery).where(old, Delivery.state != DeliveryState.PENDING).returning(Delivery.id)
            return len(session.execute(gone).all())

    def _claims(self, room: int) -> list[_Claim]:
        if room <= 0:
            return []
        with self._database.read() as session:
            if not self._due(session, 1):
                return []
        with self._database.write() as session:
            return self._due(session, room, claim=True)

    def _due(self, session: Session, room: int, *, claim: bool = False) -> list[_Claim]:
        """The messages that are due, the first of each target that is not busy; with `claim` they are taken."""
        now = self._database.now(session)
        found: dict[str, _Claim] = {}
        free = _DUE.where(Delivery.next_at <= now, Delivery.target.not_in(self._busy))
        for number, name, attempts, seen in session.execute(free.limit(MOST_LOOKED_AT)):
            if name in found or len(found) == room:
                continue
            mine = update(Delivery).where(Delivery.id == number, Delivery.next_at == seen)
            taken = mine.values(attempts=attempts + 1, next_at=now + CLAIM).returning(Delivery.id)
            if not claim or session.execute(taken).first() is not None:
                found[name] = _Claim(number, name, attempts + 1, _message(session, number))
        return list(found.values())

    def _send(self, claim: _Claim) -> None:
        try:
            sent = send(claim.message, self._settings)
        except Exception as trouble:  # a bug, or a service's library: the others are still sent
            log.warning("message %d to %s: %s", claim.delivery, claim.target, type(trouble).__name__)
            sent = Sent(f"it could not be sent: {type(trouble).__name__}")
        try:
            with self._database.write() as session:
                self._note(session, claim, sent)
        except SQLAlchemyError:
            log.warning("outcome of message %d not recorded; it will be sent again", claim.delivery)

    def _note(self, session: Session, claim: _Claim, sent: Sent) -> None:
        now = self._database.now(session)
        pause = None if sent.error is None or sent.final else pause_after(claim.attempts, self._chance())
        state = DeliveryState.DELIVERED if sent.error is None else DeliveryState.FAILED
        mine = update(Delivery).where(Delivery.id == claim.delivery, Delivery.state == DeliveryState.PENDING)
        session.execute(
            mine.values(
                state=state if pause is None else DeliveryState.PENDING,
                next_at=None if pause is None else now + timedelta(seconds=pause),
                last_status=sent.status, last_error=sent.error, delivered_at=now if sent.error is None else None,
            )
        )  # fmt: skip
        if sent.error is not None and pause is None:
            log.warning("message %d to %s given up: %s", claim.delivery, claim.target, sent.error)


def _message(session: Session, number: int) -> Message:
    row = session.get_one(Delivery, number)
    target = session.get_one(NotificationTarget, row.target)
    return Message(target.kind, target.url, target.secret, row.message_id, row.document)
