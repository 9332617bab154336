"""Hosts: which are present, and since when others are away.

A host is present while any of its workers sends heartbeats. The dispatcher records each change once, with an event; the
effect on attempts and slots is decided elsewhere, by leases and by the heartbeat of each worker.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from orchestrator.catalog import retirement
from orchestrator.errors import NotFound
from orchestrator.model.retirements import Retirable
from orchestrator.slots import queries
from orchestrator.slots.queries import SlotFacts
from orchestrator.storage.database import Database
from orchestrator.storage.events import record
from orchestrator.storage.tables import Host, Slot

_LAST_SEEN = (
    select(Slot.host, func.max(Slot.heartbeat_at), func.count(), Host.name, Host.away_since)
    .outerjoin(Host, Host.name == Slot.host)
    .group_by(Slot.host, Host.name, Host.away_since)
)


@dataclass(frozen=True)
class HostFacts:
    """A host, all its slots, and since when none of its workers is alive; None while one is."""

    name: str
    slots: Sequence[SlotFacts]
    last_seen_at: datetime | None
    away_since: datetime | None


def hosts(session: Session, name: str | None = None, *, now: datetime, lost_after: timedelta) -> list[HostFacts]:
    """All hosts by name, or the one called `name`; NotFound if no worker of it was ever registered."""
    grouped: dict[str, list[SlotFacts]] = defaultdict(list)
    for facts in queries.slots(session, now=now):
        if name in (None, facts.slot.host):
            grouped[facts.slot.host].append(facts)
    if name is not None and not grouped:
        raise NotFound(f"there is no host {name}; see: tx81 hosts", host=name)
    noted = {host.name: host.away_since for host in session.scalars(select(Host))}
    return [_facts(host, slots, now - lost_after, noted.get(host)) for host, slots in grouped.items()]


def retired(session: Session) -> set[str]:
    """The names of the hosts that a person has retired."""
    return set(session.scalars(retirement.names(Retirable.HOST)))


def note_presence(database: Database, *, lost_after: timedelta) -> int:
    """Record, once each, that a host has gone away or is back; returns the number of changes.

    The first registration of a host is not an event."""
    with database.read() as session:
        if not _changed(session, database.now(session) - lost_after):
            return 0
    with database.write() as session:
        now = database.now(session)
        changed = _changed(session, now - lost_after)
        for name, last_seen, slots, known, away_since in changed:
            there = last_seen is not None and last_seen > now - lost_after
            host = session.get(Host, name) if known else Host(name=name, away_since=None)
            assert host is not None
            session.add(host)
            host.away_since = None if there else last_seen or now
            if there and away_since is not None:
                record(session, "host.back", now, host=name, away_since=away_since.isoformat())
            elif host.away_since is not None:
                why = "all workers stopped" if last_seen is None else "no heartbeat from any worker"
                since = host.away_since.isoformat()
                record(session, "host.away", now, host=name, away_since=since, slots=slots, why=why)
        return len(changed)


def _changed(
    session: Session, alive_since: datetime
) -> list[Row[str, datetime | None, int, str | None, datetime | None]]:
    """Hosts that are not recorded yet, or whose recorded state is outdated."""
    return [
        row
        for row in session.execute(_LAST_SEEN)
        if row[3] is None or (row[1] is not None and row[1] > alive_since) is not (row[4] is None)
    ]


def _facts(name: str, slots: Sequence[SlotFacts], alive_since: datetime, noted: datetime | None) -> HostFacts:
    seen = [facts.slot.heartbeat_at for facts in slots if facts.slot.heartbeat_at is not None]
    last = max(seen, default=None)
    there = last is not None and last > alive_since
    return HostFacts(name, slots, last, None if there else noted or last)
