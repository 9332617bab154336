"""Fixtures that every room of the tests shares: databases of both kinds, built by the migrations."""

import gc
import itertools
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from alembic import command
from postgres import SharedDatabase, execute, running_postgres
from sqlalchemy import event

from migrations.__main__ import config
from orchestrator.settings import Settings, url_of_sqlite
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database

_numbers = itertools.count()

SLOW_FIXTURES = frozenset({"postgres_socket", "built", "lab", "site", "served", "serve"})
"""What takes longer than a test of the inner loop may: a PostgreSQL, a compiled model of the emulator, and what runs
processes or serves a socket (an installation of the workers or of the API)."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fast", action="store_true", help="no lab, no PostgreSQL, no test that is marked as slow")


def pytest_configure(config: pytest.Config) -> None:
    # Thousands of collected tests are no garbage: looking through them again and again takes a tenth of the time.
    gc.set_threshold(50_000)
    # A shell gives a command in the background SIGINT ignored, and every process that a test starts inherits that.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    # Without a deadline: on a busy machine, or while a library is loaded, one example takes longer than another.
    usual = hypothesis.settings.default.max_examples
    few = usual // 5 if config.getoption("fast") else usual
    hypothesis.settings.register_profile("steady", max_examples=few, deadline=None)
    hypothesis.settings.load_profile("steady")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # A group runs in one process, one test after the other: what takes longest begins first.
    items.sort(key=lambda item: item.get_closest_marker("xdist_group") is None)
    if config.getoption("fast"):
        slow = [item for item in items if _is_slow(item)]
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if item not in set(slow)]


def _is_slow(item: pytest.Item) -> bool:
    assert isinstance(item, pytest.Function)
    fixtures = SLOW_FIXTURES.intersection(item.fixturenames)
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return bool(fixtures) or "postgresql" in parameters or item.get_closest_marker("slow") is not None


class Opened:
    """Databases by their URLs, each opened but once: compiling statements anew takes longer than most tests."""

    def __init__(self) -> None:
        self._databases: dict[str, Database] = {}
        self.backends: set[int] = set()

    def __call__(self, url: str) -> Database:
        if url not in self._databases:
            database = self._databases[url] = Database(url)
            if not database.is_sqlite:
                event.listen(database.engine, "connect", self._note)
        return self._databases[url]

    def close(self) -> None:
        for database in self._databases.values():
            database.close()

    def _note(self, connection: Any, _record: Any) -> None:
        self.backends.add(connection.info.backend_pid)


@pytest.fixture(scope="session")
def opened() -> Iterator[Opened]:
    opened = Opened()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def postgres_socket() -> Iterator[str]:
    with running_postgres() as socket:
        yield socket


@pytest.fixture(scope="session")
def postgres_template(postgres_socket: str) -> str:
    execute(postgres_socket, "CREATE DATABASE template_tx81")
    command.upgrade(config(f"postgresql+psycopg://postgres@/template_tx81?host={postgres_socket}"), "head")
    return "template_tx81"


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "tx81.db"
    command.upgrade(config(url_of_sqlite(file)), "head")
    return file


@pytest.fixture(scope="session")
def sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sqlite") / "tx81.db"


@pytest.fixture
def sqlite_url(sqlite_template: Path, sqlite_file: Path) -> str:
    """One path for test after test, a new file each time."""
    for old in (sqlite_file, *(sqlite_file.with_name(sqlite_file.name + end) for end in ("-wal", "-shm"))):
        old.unlink(missing_ok=True)
    shutil.copy(sqlite_template, sqlite_file)
    return url_of_sqlite(sqlite_file)


@pytest.fixture
def own_postgres_url(postgres_socket: str, postgres_template: str) -> Iterator[str]:
    """A database for a test that changes its tables."""
    name = f"test_{next(_numbers)}"
    execute(postgres_socket, f"CREATE DATABASE {name} TEMPLATE {postgres_template} STRATEGY FILE_COPY")
    yield f"postgresql+psycopg://postgres@/{name}?host={postgres_socket}"
    execute(postgres_socket, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def shared_postgres(postgres_socket: str, postgres_template: str) -> Iterator[SharedDatabase]:
    shared = SharedDatabase(postgres_socket, postgres_template)
    yield shared
    shared.close()


@pytest.fixture
def postgres_url(shared_postgres: SharedDatabase, opened: Opened) -> Iterator[str]:
    yield shared_postgres.url
    shared_postgres.empty(kept=opened.backends)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
def database(database_url: str, opened: Opened) -> Iterator[Database]:
    """The same test runs on SQLite and on PostgreSQL."""
    database = opened(database_url)
    yield database
    if database.is_sqlite:  # The next test has another file.
        database.close()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", allowed_roots=(tmp_path,), host="lab1")
