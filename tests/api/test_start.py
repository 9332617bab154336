"""The API and the dispatcher are there before their database is, and say so; nobody there is said too."""

import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import httpx2
import pytest
from eventually import eventually

from api.client.client import Client, ServerUnreachable
from orchestrator.dispatcher.main import Dispatcher
from orchestrator.settings import Settings, url_of_sqlite
from orchestrator.storage.away import in_one_line
from orchestrator.storage.database import Database


def mount(template: Path, home: Path) -> None:
    """Let the database be there, whole, from one moment to the next."""
    aside = home.with_name("aside")
    aside.mkdir()
    shutil.copy(template, aside / "tx81.db")
    aside.rename(home)


@pytest.mark.slow
def test_the_api_waits_for_its_database_refuses_in_one_line_each_and_then_works(tmp_path: Path, sqlite_template: Path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home, log = tmp_path / "mounted later", tmp_path / "api.log"
    env = {
        **os.environ,
        "TX81_STATE_DIR": str(tmp_path / "state"),
        "TX81_DATABASE_URL": url_of_sqlite(home / "tx81.db"),
        "TX81_API_PORT": str(port),
    }
    with log.open("wb") as written, httpx2.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False) as http:
        api = subprocess.Popen([sys.executable, "-m", "api"], env=env, stdout=written, stderr=written)
        try:
            ready = eventually(lambda: _asked(http, "/health/ready"), within=90)
            before = len(log.read_text().splitlines())
            refused = [_asked(http, "/api/v1/jobs") for _ in range(3)]
            lines = log.read_text().splitlines()
            mount(sqlite_template, home)

            assert (ready.status_code, ready.json()["ready"]) == (503, False)
            assert "database" in ready.json()["detail"]
            assert [(answer.status_code, answer.json()["code"]) for answer in refused] == [(503, "database_away")] * 3
            assert "Traceback" not in log.read_text()
            assert len([line for line in lines[before:] if "api.http" in line]) == 3
            assert eventually(lambda: _asked(http, "/health/ready").status_code == 200)
            assert eventually((tmp_path / "state/admin-token").exists)
        finally:
            api.terminate()
            api.wait()


def _asked(http: httpx2.Client, path: str) -> httpx2.Response | None:
    try:
        return http.get(path, headers={"Authorization": "Bearer tx81_nobody"})
    except httpx2.ConnectError:
        return None


def test_nobody_at_the_address_is_said_at_once(settings):
    with Client(f"http://127.0.0.1:{settings.api_port}", "tx81_x") as client, pytest.raises(ServerUnreachable):
        client.jobs()


def test_the_dispatcher_waits_for_its_database_and_then_leads(tmp_path: Path, sqlite_template: Path):
    home = tmp_path / "mounted later"
    settings = Settings(state_dir=tmp_path, database_url=url_of_sqlite(home / "tx81.db"))
    dispatcher = Dispatcher(settings, doorbell=lambda bells: None)
    thread = threading.Thread(target=dispatcher.run)
    thread.start()
    try:
        mount(sqlite_template, home)

        assert eventually(lambda: dispatcher.leading)
    finally:
        dispatcher.stop()
        thread.join()


def test_a_watch_of_a_server_that_is_away_says_that_something_may_have_happened():
    watch = Database("postgresql://nobody@/x?host=/nowhere").watch()

    assert watch.wait(0.01)


def test_a_database_that_is_away_is_told_in_one_line_wherever_it_is_met(caplog):
    database = Database("postgresql://nobody:secret@/x?host=/nowhere")
    caplog.handler.addFilter(in_one_line)
    try:
        database.engine.connect()
    except Exception:
        logging.getLogger("anywhere").exception("beat failed")
    caplog.handler.removeFilter(in_one_line)

    assert "Traceback" not in caplog.text
    assert len(caplog.text.splitlines()) == 1
    assert "/nowhere" in caplog.text
    assert "secret" not in caplog.text
