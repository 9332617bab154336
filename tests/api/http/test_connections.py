"""Clients that open connections and ask nothing harm nobody: against the real server, with few descriptors."""

import asyncio
import errno
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from eventually import eventually

from api.__main__ import server
from api.app import create_app
from api.http import connections
from api.http.connections import QuietAboutDescriptors, most_connections
from orchestrator.storage.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("connections")]

DESCRIPTORS = 128


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """An API that may have few descriptors: its port and its log."""
    folder = tmp_path_factory.mktemp("served")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {**os.environ, "TX81_STATE_DIR": str(folder / "state"), "TX81_API_PORT": str(port)}
    subprocess.run([sys.executable, "-m", "migrations"], env=env, check=True)
    # The soft limit is lower still: it is raised to what the administrator allows.
    limits = f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_NOFILE, (40, {DESCRIPTORS})); "
    start = "os.execv(sys.executable, [sys.executable, '-P', '-m', 'api'])"
    with (folder / "log").open("wb") as log:
        api = subprocess.Popen([sys.executable, "-c", limits + start], env=env, stdout=log, stderr=log)
    try:
        eventually(lambda: _status(port), within=90)
        yield port, folder / "log"
    finally:
        api.terminate()
        api.wait()


def _status(port: int) -> int | None:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/health/ready", trust_env=False, timeout=20).status_code
    except httpx2.HTTPError:
        return None


@pytest.mark.parametrize(
    "begun", [b"", b"GET /health/ready HTTP/1.1\r\nX: ", b"\x16\x03\x01"], ids=["", "header", "tls"]
)
def test_half_open_connections_beyond_all_descriptors_keep_nobody_out(served, begun: bytes):
    port, log = served
    before = len(log.read_text().splitlines())

    with ExitStack() as opened:
        for _ in range(3 * DESCRIPTORS):
            opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=20)).sendall(begun)
        statuses = [_status(port) for _ in range(10)]

    told = log.read_text().splitlines()[before:]
    assert statuses == [200] * 10
    assert not [line for line in told if "Traceback" in line or "Too many open files" in line]
    assert len([line for line in told if "Invalid HTTP" not in line]) < 10


def test_as_many_connections_as_descriptors_bear():
    assert most_connections(1 << 20) == connections.MOST_CONNECTIONS
    assert most_connections(1024) == 384
    assert 0 < most_connections(64) * 2 < 64
    assert most_connections(1) == 1


@pytest.fixture
def hurried(monkeypatch, settings, sqlite_url, store) -> Iterator[int]:
    """A server whose patience is short; its port."""
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    monkeypatch.setattr(connections, "BODY_SECONDS", 0.5)
    database = Database(sqlite_url)
    running = server(create_app(settings, database, store), settings)
    thread = threading.Thread(target=lambda: asyncio.run(running.serve()))
    thread.start()
    eventually(lambda: running.started)
    yield settings.api_port
    running.should_exit = True
    thread.join()
    database.close()


@pytest.mark.parametrize(
    "begun",
    [
        b"",
        b"GET /health/live HTTP/1.1\r\nHost: x\r\nX-Slow: 1",
        b"POST /api/v1/jobs HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    ],
    ids=["nothing", "headers", "body"],
)
def test_who_never_ends_a_request_is_let_go(hurried, begun: bytes):
    with socket.create_connection(("127.0.0.1", hurried), timeout=30) as client:
        client.sendall(begun)

        left = b""
        try:
            while piece := client.recv(4096):
                left += piece
        except ConnectionResetError:
            pass

    assert not left.startswith(b"HTTP/1.1 2")


def test_a_request_that_is_slow_but_goes_on_is_answered_and_the_connection_kept(hurried):
    pause = threading.Event()
    with socket.create_connection(("127.0.0.1", hurried), timeout=30) as client:
        for _ in range(2):
            for piece in (b"GET /health/live HTTP/1.1\r\n", b"Host: x\r\n\r\n"):
                client.sendall(piece)
                pause.wait(0.05)
            assert client.recv(4096).startswith(b"HTTP/1.1 200")


def test_missing_descriptors_are_one_line_however_many_connections_wait(caplog):
    quiet, loop = QuietAboutDescriptors(), asyncio.new_event_loop()

    for _ in range(1000):
        quiet(loop, {"exception": OSError(errno.EMFILE, "Too many open files"), "message": "accept"})
    loop.close()

    assert len(caplog.text.splitlines()) == 1
