"""A real API process on SQLite with the emulated tools registered; no dispatcher, so a job stays where it is put."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from eventually import eventually

from api.client.client import Client, ServerUnreachable
from cli.main import run

MODEL = "tiny"


def pytest_itemcollected(item: pytest.Item) -> None:
    """One process runs all tests of the installation, so that it is started once."""
    assert isinstance(item, pytest.Function)
    if "site" in item.fixturenames:
        item.add_marker(pytest.mark.xdist_group("site"))


@dataclass(frozen=True)
class Site:
    """A served installation."""

    server: str
    token_file: Path
    tools: dict[str, str]

    @property
    def token(self) -> str:
        return self.token_file.read_text().strip()


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        assert self.out, self.err
        return json.loads(self.out)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    install = [sys.executable, "-m", "emulator", "install", str(folder / "tree")]
    tools = json.loads(subprocess.run(install, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    env = {
        **{name: value for name, value in os.environ.items() if not name.startswith("TX81_")},
        "TX81_STATE_DIR": str(folder / "state"),
        "TX81_ALLOWED_ROOTS": json.dumps([tools["home"]]),
        "TX81_API_PORT": str(port),
    }
    subprocess.run([sys.executable, "-m", "migrations"], env=env, check=True)
    with (folder / "api.log").open("wb") as log:
        api = subprocess.Popen([sys.executable, "-m", "api"], env=env, stdout=log, stderr=log)
    try:
        found = Site(f"http://127.0.0.1:{port}", folder / "state" / "admin-token", tools)
        _registered(found)
        yield found
    finally:
        api.terminate()
        api.wait()


def _registered(site: Site) -> None:
    eventually(lambda: _answers(site))
    with Client(site.server, site.token) as client:
        client.register_release("r1", "txnn_1.2.1_build0307", site.tools["home"], default=True)
        client.register_model(MODEL, site.tools["model"], tx81_config=f"{site.tools['model']}/config_tx81.json")


def _answers(site: Site) -> bool:
    try:
        with Client(site.server, "unknown") as client:
            return client.ready().ready
    except ServerUnreachable:
        return False


@pytest.fixture
def at_site(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    """The environment of a person who works there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TX81_SERVER", site.server)
    monkeypatch.setenv("TX81_TOKEN", site.token)
    monkeypatch.setenv("TX81_CONTEXTS", str(tmp_path / "contexts.json"))
    return site


@pytest.fixture
def tx81(capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command as the shell would, in this process."""

    def call(*argv: object) -> Ran:
        code = run([str(argument) for argument in argv])
        return Ran(code, *capsys.readouterr())

    return call


@pytest.fixture
def queued(at_site: Site, tx81: Callable[..., Ran]) -> int:
    """A job that nobody will run."""
    request = {"name": "stays-queued", "spec": {"kind": "quantize", "model": MODEL}, "use_cache": False}
    Path("job.json").write_text(json.dumps(request))
    return tx81("submit", "job.json", "--output", "json").document["id"]
