"""What hosts lack: recorded by the attempt that found it, checked again by their workers, and deleted when it is
present."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.model.lacks import Lack, new_lack
from orchestrator.storage.events import record
from orchestrator.storage.tables import Slot


def note(session: Session, host: str, name: str, *, why: str, now: datetime, probed: bool) -> None:
    """Keep work that needs `name` away from a host; if `probed`, until a worker of that host finds it present again."""
    lack, new = new_lack(name, why, now, probed=probed), False
    for slot in _of_host(session, host):
        if name not in (slot.lacks or {}):
            slot.lacks, new = {**(slot.lacks or {}), name: lack.document()}, True
    session.flush()
    if new:
        record(session, "host.lacks", now, host=host, what=name, why=why)


def regain(session: Session, host: str, name: str, *, now: datetime) -> None:
    """Allow work that needs `name` on the host again; does nothing if the host did not lack it."""
    lacked = False
    for slot in _of_host(session, host):
        if name in (slot.lacks or {}):
            lacked = True
            slot.lacks = {other: lack for other, lack in (slot.lacks or {}).items() if other != name} or None
    session.flush()
    if lacked:
        record(session, "host.regained", now, host=host, what=name)


def take_due(session: Session, host: str, now: datetime) -> Sequence[str]:
    """What the host lacks and the caller has to check now; no other worker gets it before the next pause is over."""
    due: set[str] = set()
    for slot in _of_host(session, host):
        lacks = [Lack.of(name, stored) for name, stored in (slot.lacks or {}).items()]
        if any(lack.is_due(now) for lack in lacks):
            due |= {lack.name for lack in lacks if lack.is_due(now)}
            slot.lacks = {lack.name: (lack.put_off(now) if lack.is_due(now) else lack).document() for lack in lacks}
    session.flush()
    return sorted(due)


def _of_host(session: Session, host: str) -> Sequence[Slot]:
    found = select(Slot).where(Slot.host == host).order_by(Slot.id)
    return session.scalars(found.with_for_update(key_share=True)).all()
