"""What every process relies on, on both databases."""

import threading
from datetime import timedelta

import pytest
from eventually import eventually
from postgres import execute
from sqlalchemy import URL, text
from sqlalchemy.exc import IntegrityError

from orchestrator.storage.database import Database
from orchestrator.storage.tables import Leader


def _lead(database: Database, role: str) -> None:
    with database.write() as session:
        session.add(Leader(role=role, holder="someone", expires_at=database.now(session)))


def test_a_watch_wakes_when_another_connection_commits(database: Database):
    watch = database.watch()
    watch.wait(0)

    writing = threading.Thread(target=_lead, args=(database, "a"))
    writing.start()

    assert watch.wait(10)
    watch.close()
    writing.join()  # It still holds a connection when the commit is seen.


def test_a_watch_sleeps_while_only_reading_happens(database: Database):
    watch = database.watch()
    watch.wait(0)

    with database.read() as session:
        database.now(session)
    with database.write() as session:
        session.get(Leader, "a")

    assert not watch.wait(0.2)
    watch.close()


def test_a_watch_that_is_woken_by_another_thread_returns_at_once_and_for_good(database: Database):
    watch = database.watch()
    watch.wait(0)
    waking = threading.Timer(0.1, watch.wake)
    waking.start()

    assert watch.wait(60)
    assert watch.wait(60)

    watch.close()
    watch.wake()  # It may come after the end.
    waking.join()


def test_a_writer_that_had_to_wait_is_told_the_time_after_that(sqlite_url):
    database = Database(sqlite_url)
    found = []

    def ask() -> None:
        with database.write() as session:
            found.append(database.now(session))

    with database.write() as session:
        database.now(session)
        waiting = threading.Thread(target=ask)
        waiting.start()
        waiting.join(0.3)
        end = database.now(session)
    waiting.join()

    assert found[0] >= end
    database.close()


def test_a_transaction_that_raises_leaves_nothing(database: Database):
    def half_way() -> None:
        with database.write() as session:
            session.add(Leader(role="a", holder="x", expires_at=database.now(session)))
            session.flush()
            raise RuntimeError("half-way")

    with pytest.raises(RuntimeError):
        half_way()

    with database.read() as session:
        assert session.get(Leader, "a") is None


def test_instants_come_back_aware_and_unchanged(database: Database):
    with database.write() as session:
        moment = database.now(session) + timedelta(microseconds=1)
        session.add(Leader(role="a", holder="x", expires_at=moment))

    with database.read() as session:
        assert session.get_one(Leader, "a").expires_at == moment


def test_writers_at_the_same_time_wait_for_each_other(database: Database):
    threads = [threading.Thread(target=_lead, args=(database, f"role {number}")) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def count() -> int:
        with database.read() as session:
            return session.query(Leader).count()

    assert eventually(lambda: count() == 8)


def test_a_key_is_unique_for_all(database: Database):
    _lead(database, "a")
    with pytest.raises(IntegrityError):
        _lead(database, "a")


def test_a_connection_that_the_server_closed_while_nobody_used_it_is_replaced(postgres_url):
    database = Database(postgres_url)
    number = "SELECT pg_backend_pid()"
    with database.read() as session:
        pooled = session.scalar(text(number))
    other = Database(postgres_url)
    with other.write() as session:
        session.execute(text("SELECT pg_terminate_backend(:number, 10000)"), {"number": pooled})

    with database.write() as session:
        replaced = session.scalar(text(number))

    assert replaced != pooled
    database.close()
    other.close()


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_postgresql_is_reached_and_watched_whatever_is_in_its_url(postgres_socket: str, scheme: str):
    name, role = "a b+c?d%e#f'g", "o'brien +x@y:z%/状态"
    quoted = [each.replace('"', '""') for each in (name, role)]
    execute(postgres_socket, f'CREATE DATABASE "{quoted[0]}"')
    execute(postgres_socket, f'CREATE ROLE "{quoted[1]}" LOGIN')
    query = {"host": postgres_socket, "application_name": "a b+c&d=e"}
    url = URL.create(scheme, role, "p a+s%s", database=name, query=query)

    database = Database(url.render_as_string(hide_password=False))
    try:
        watch = database.watch()
        with database.read() as session:
            asked = session.execute(text("SELECT current_database(), current_user")).one()
            watched = session.scalars(text("SELECT application_name FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"))
            assert tuple(asked) == (name, role)
            assert "a b+c&d=e" in watched.all()
        watch.close()
    finally:
        database.close()
        execute(postgres_socket, f'DROP DATABASE "{quoted[0]}" WITH (FORCE)')
        execute(postgres_socket, f'DROP ROLE "{quoted[1]}"')
