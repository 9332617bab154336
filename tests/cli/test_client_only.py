"""`pip install tx81-orchestrator` without extras: the command line and the Python client, and nothing of a server."""

import subprocess
import tomllib
from collections.abc import Callable
from importlib.metadata import distribution, packages_distributions
from pathlib import Path

import pytest
from client_only import ROOT, install_client, required
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tx81.parts import EXTRAS

MOST_BYTES = 30_000_000
IMPORTS = """
import importlib, pkgutil
import api.client, api.documents, cli
for package in (api.client, api.documents, cli):
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.startswith("cli.demo."):
            importlib.import_module(module.name)
"""

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_client(tmp_path_factory.mktemp("client"))


@pytest.fixture
def client(python: Path, tmp_path: Path) -> Run:
    """Runs that Python in a folder of its own."""

    def call(*argv: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run([python, *map(str, argv)], cwd=tmp_path, capture_output=True, text=True, check=False)

    return call


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_client_documents_and_commands_import_only_what_is_required(client):
    ran = client("-c", IMPORTS)

    assert ran.stderr == ""


@pytest.mark.slow
@pytest.mark.xdist_group("site")
@pytest.mark.parametrize(
    ("argv", "extra"),
    [
        (("tx81", "up"), "embedded"),
        (("tx81", "demo", "--help"), "embedded"),
        (("tx81", "worker", "g0"), "server"),
        (("api",), "server"),
    ],
)
def test_what_runs_on_a_server_says_in_one_line_what_to_install(client, tmp_path, argv, extra):
    ran = client("-m", *argv)

    assert ran.returncode == 2
    assert ran.stdout == ""
    assert ran.stderr.endswith(f" is not installed: pip install 'tx81-orchestrator[{extra}]'\n")
    assert ran.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.xdist_group("site")
def test_help_and_the_version_need_no_server_part(client):
    assert "  jobs: " in client("-m", "tx81", "--help").stdout
    assert "Usage: tx81 up" in client("-m", "tx81", "up", "--help").stdout
    assert client("-m", "tx81", "--version").stdout == distribution("tx81-orchestrator").version + "\n"


def test_a_served_api_is_asked_and_the_doctor_looks_at_what_is_there(client, at_site):
    jobs, doctor = client("-m", "tx81", "jobs", "-n", "500", "-o", "json"), client("-m", "tx81", "doctor")

    assert (jobs.returncode, jobs.stderr) == (0, "")
    assert "services" in doctor.stdout
    assert "pip install 'tx81-orchestrator[server]'" in doctor.stdout
    assert "state folder" not in doctor.stdout


def test_what_is_required_is_small():
    files = [Path(str(file.locate())) for package in required() for file in distribution(package).files or ()]

    size = sum(file.stat().st_size for file in files if file.suffix != ".pyc" and file.exists())

    assert size < MOST_BYTES


def test_every_package_of_an_extra_is_looked_for_before_a_command_needs_it():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    modules = packages_distributions()
    owners = {extra: {canonicalize_name(modules[name][0]) for name in names} for extra, names in EXTRAS.items()}
    listed = {
        extra: {canonicalize_name(Requirement(text).name) for text in project["optional-dependencies"][extra]}
        for extra in EXTRAS
    }

    assert owners["server"] == listed["server"]
    assert owners["embedded"] == listed["server"] | listed["embedded"] - {"tx81-orchestrator"}
