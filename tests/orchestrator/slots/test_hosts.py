"""Hosts go away and come back, on both databases."""

from datetime import timedelta

import pytest
from builders.lifecycle import LEASE, a_slot, now
from sqlalchemy import select, update

from orchestrator.errors import NotFound
from orchestrator.slots import hosts
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Event, Slot

LONG_AGO = timedelta(hours=1)


def _note(database: Database) -> list[tuple[str, str]]:
    """Look at all hosts; every event about a host so far."""
    hosts.note_presence(database, lost_after=LEASE)
    with database.read() as session:
        found = session.scalars(select(Event).where(Event.kind.like("host.%")).order_by(Event.id)).all()
        return [(event.kind, event.data["host"]) for event in found]


def _seen(database: Database, host: str, **facts: object) -> None:
    with database.write() as session:
        session.execute(update(Slot).where(Slot.host == host).values(**facts))


@pytest.fixture
def two_hosts(database: Database) -> Database:
    with database.write() as session:
        for host in ("lab1", "lab2"):
            a_slot(session, "g0", host=host)
            a_slot(session, "g1", host=host)
    return database


def test_a_host_that_is_there_from_the_start_is_no_event(two_hosts: Database):
    assert _note(two_hosts) == []


def test_a_host_whose_workers_all_vanish_is_told_once_and_so_is_its_return(two_hosts: Database):
    _note(two_hosts)

    _seen(two_hosts, "lab2", heartbeat_at=now() - LONG_AGO)
    gone = _note(two_hosts), _note(two_hosts)
    _seen(two_hosts, "lab2", heartbeat_at=now())
    back = _note(two_hosts), _note(two_hosts)

    assert gone == ([("host.away", "lab2")],) * 2
    assert back == ([("host.away", "lab2"), ("host.back", "lab2")],) * 2


def test_a_host_with_one_worker_left_is_there(two_hosts: Database):
    with two_hosts.write() as session:
        session.get_one(Slot, "lab2.g0").heartbeat_at = now() - LONG_AGO

    assert _note(two_hosts) == []


def test_it_is_away_since_its_last_sign_of_life(two_hosts: Database):
    last = now() - LONG_AGO
    _seen(two_hosts, "lab2", heartbeat_at=last)

    hosts.note_presence(two_hosts, lost_after=LEASE)

    with two_hosts.read() as session:
        there, away = hosts.hosts(session, now=now(), lost_after=LEASE)
    assert (there.name, there.away_since) == ("lab1", None)
    assert (away.name, away.away_since, away.last_seen_at) == ("lab2", last, last)


def test_a_host_whose_workers_said_goodbye_is_away_since_then(two_hosts: Database):
    before = now() - timedelta(seconds=1)
    _seen(two_hosts, "lab2", heartbeat_at=None)

    assert _note(two_hosts) == [("host.away", "lab2")]

    with two_hosts.read() as session:
        (away,) = hosts.hosts(session, "lab2", now=now(), lost_after=LEASE)
    assert before < away.away_since < now() + timedelta(seconds=1)


def test_a_host_from_which_no_worker_ever_came_is_not_found(two_hosts: Database):
    with two_hosts.read() as session, pytest.raises(NotFound, match="lab3"):
        hosts.hosts(session, "lab3", now=now(), lost_after=LEASE)
