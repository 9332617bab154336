"""A real application on SQLite: called in-process for plain requests, served by uvicorn on a free port for streams."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventually import eventually
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.__main__ import Server, server
from api.app import create_app
from api.client import Client
from orchestrator import tokens
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Base


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The one folder that requests may name files below."""
    folder = tmp_path / "files"
    folder.mkdir()
    return folder


@pytest.fixture
def settings(tmp_path: Path, files: Path) -> Settings:
    return Settings(state_dir=tmp_path, allowed_roots=(files,), api_port=_free_port(), max_body_bytes=1 << 20)


@pytest.fixture
def database(settings: Settings) -> Iterator[Database]:
    database = Database(settings.database)
    Base.metadata.create_all(database.engine)
    yield database
    database.close()


@pytest.fixture
def store(settings: Settings) -> ArtifactStore:
    return ArtifactStore(settings.store)


@pytest.fixture
def token(database: Database) -> str:
    return tokens.make(database, "test", ("admin",))


@pytest.fixture
def app(settings: Settings, database: Database, store: ArtifactStore) -> FastAPI:
    return create_app(settings, database, store)


@pytest.fixture
def http(app: FastAPI, token: str) -> Iterator[TestClient]:
    """Requests in-process, below /api/v1, with a token; a failure of the server is an answer, as it is for clients."""
    with TestClient(app, base_url="http://testserver/api/v1", raise_server_exceptions=False) as http:
        http.headers["Authorization"] = f"Bearer {token}"
        yield http


@pytest.fixture
def served(app: FastAPI, settings: Settings) -> Iterator[Server]:
    """The application served by uvicorn in a thread; stopped as a signal would."""
    running = server(app, settings)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()))
    thread.start()
    try:
        eventually(lambda: running.started)
        yield running
    finally:
        running.should_exit = True
        thread.join()


@pytest.fixture
def client(served: Server, settings: Settings, token: str) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{settings.api_port}", token) as client:
        yield client


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
