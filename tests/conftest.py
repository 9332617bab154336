"""Fixtures that every room of the tests shares: databases of both kinds, built by the migrations."""

import itertools
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from postgres import empty, execute, running_postgres

from migrations.__main__ import config
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database

_numbers = itertools.count()


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
    command.upgrade(config(f"sqlite:///{file}"), "head")
    return file


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    shutil.copy(sqlite_template, tmp_path / "tx81.db")
    return f"sqlite:///{tmp_path / 'tx81.db'}"


@pytest.fixture
def own_postgres_url(postgres_socket: str, postgres_template: str) -> Iterator[str]:
    """A database for a test that changes its tables."""
    name = f"test_{next(_numbers)}"
    execute(postgres_socket, f"CREATE DATABASE {name} TEMPLATE {postgres_template} STRATEGY FILE_COPY")
    yield f"postgresql+psycopg://postgres@/{name}?host={postgres_socket}"
    execute(postgres_socket, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def shared_postgres(postgres_socket: str, postgres_template: str) -> str:
    execute(postgres_socket, f"CREATE DATABASE shared TEMPLATE {postgres_template}")
    return "shared"


@pytest.fixture
def postgres_url(postgres_socket: str, shared_postgres: str) -> Iterator[str]:
    """One database for test after test, empty each time: making one takes longer than most tests."""
    yield f"postgresql+psycopg://postgres@/{shared_postgres}?host={postgres_socket}"
    empty(postgres_socket, shared_postgres)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "postgres_url")


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """The same test runs on SQLite and on PostgreSQL."""
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path / "state", allowed_roots=(tmp_path,), host="lab1")
