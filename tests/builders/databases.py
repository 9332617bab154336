"""Questions and calls to a database as a whole."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import func, select

from orchestrator.storage.database import Database
from orchestrator.storage.tables import Base

both_databases = pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
"""Of a test that runs on SQLite unless it says otherwise: what it shows is decided in SQL."""


@pytest.fixture(name="database_url")
def sqlite_unless_marked(request: pytest.FixtureRequest) -> str:
    """SQLite, or both where a test is marked with `both_databases`: where SQL is tried on both elsewhere."""
    kind = getattr(request, "param", "sqlite")
    return request.getfixturevalue("sqlite_url" if kind == "sqlite" else "postgres_url")


def rows(database: Database) -> dict[str, int]:
    """How many rows every table has."""
    with database.read() as session:
        return {
            table.name: session.scalar(select(func.count()).select_from(table)) for table in Base.metadata.sorted_tables
        }


@contextmanager
def nothing_written(database: Database) -> Iterator[None]:
    before = rows(database)
    yield
    assert rows(database) == before


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Call all in threads of their own, as close together as they get; what one raised is raised here."""
    start = threading.Barrier(len(calls))

    def call(function: Callable[[], Any]) -> Any:
        start.wait()
        return function()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [future.result() for future in [pool.submit(call, function) for function in calls]]
