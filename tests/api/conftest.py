"""A real application: called in-process for plain requests, served by uvicorn on a free port for streams."""

import asyncio
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from builders.databases import sqlite_unless_marked  # noqa: F401
from eventually import eventually
from fastapi import FastAPI
from starlette.testclient import TestClient

from api.__main__ import ApiServer, server
from api.app import create_app
from api.client.client import Client
from orchestrator import tokens
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database

EVENT_LOOP = "event-loop"
"""Name of the thread in which a served application's event loop runs."""


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(state_dir=tmp_path, api_port=_free_port(), max_body_bytes=1 << 20)


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


@contextmanager
def serving(app: FastAPI, settings: Settings) -> Iterator[ApiServer]:
    running = server(app, settings)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()), name=EVENT_LOOP)
    thread.start()
    try:
        eventually(lambda: running.started)
        yield running
    finally:
        running.should_exit = True
        thread.join()


@pytest.fixture
def serve(
    settings: Settings, database: Database, store: ArtifactStore
) -> Callable[[], AbstractContextManager[ApiServer]]:
    """Serves a new application by uvicorn in a thread, as long as its `with` lasts; stops it as a signal would."""
    return lambda: serving(create_app(settings, database, store), settings)


@pytest.fixture
def served(serve: Callable[[], AbstractContextManager[ApiServer]]) -> Iterator[ApiServer]:
    with serve() as running:
        yield running


@pytest.fixture
def client(served: ApiServer, settings: Settings, token: str) -> Iterator[Client]:
    with Client(f"http://127.0.0.1:{settings.api_port}", token) as client:
        yield client


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
