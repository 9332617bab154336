"""What a person's shell holds for other projects, and what lies in their folders, decides nothing here."""

import ast
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tx81.start import own_search_path, service_environment

pytestmark = pytest.mark.slow

OTHERS = {
    "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
    "CELERY_LOADER": "nobody.knows:Loader",
    "CELERY_TRACE_APP": "1",
    "BROKER_URL": "redis://127.0.0.1:1/0",
    "FLOWER_PORT": "tcp://10.0.0.1:5555",
    "PGHOST": "10.255.255.1",
    "PGOPTIONS": "-c search_path=elsewhere",
    "PGSERVICE": "nobody",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "https_proxy": "http://127.0.0.1:1",
    "ALL_PROXY": "socks5://127.0.0.1:1",
    "SSL_CERT_FILE": "/nowhere",
    "UVICORN_PORT": "1",
    "WEB_CONCURRENCY": "many",
    "ALEMBIC_CONFIG": "/nowhere",
    "SQLALCHEMY_WARN_20": "1",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "LD_PRELOAD": "",
    "PYTHONWARNINGS": "error",
    "PYTHONSTARTUP": "/nowhere",
}
HARMFUL = {name: value for name, value in OTHERS.items() if not name.startswith("PYTHON")}
PACKAGES = ("api", "cli", "workers", "orchestrator", "emulator", "migrations", "tests", "pydantic", "celery", "flower")
ROOT = Path(__file__).parents[2]
TX81 = Path(sys.executable).with_name("tx81")


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of somebody's whose packages are called like ours and like those that ours need."""
    for name in PACKAGES:
        (tmp_path / "theirs" / name).mkdir(parents=True)
        (tmp_path / "theirs" / name / "__init__.py").write_text("raise SystemExit('theirs')\n")
        (tmp_path / "theirs" / name / "__main__.py").write_text("raise SystemExit('theirs')\n")
    return tmp_path / "theirs"


def test_a_service_keeps_our_settings_and_where_and_in_which_language_it_runs():
    kept = {"PATH": "/bin", "HOME": "/h", "LANG": "C", "LC_ALL": "C", "TZ": "UTC", "TMPDIR": "/t", "NO_COLOR": "1"}
    ours = {"TX81_STATE_DIR": "/s", "tx81_host": "h"}

    assert service_environment(kept | ours | OTHERS) == kept | ours


def test_neither_pythonpath_nor_the_current_folder_is_searched():
    path = ["/here", "/theirs", "/usr/lib/python3.11", "/site-packages"]

    found = own_search_path(path, python_path="/theirs:/also", folder="/here", home="/site-packages")

    assert found == ["/usr/lib/python3.11", "/site-packages"]


def test_our_packages_are_found_where_they_are_even_if_only_pythonpath_named_that_place():
    assert own_search_path(["/lib", "/ours"], python_path="/ours", folder="/here", home="/ours") == ["/ours", "/lib"]


def test_the_folder_of_a_program_stays():
    path = ["/venv/bin", "/lib", "/ours"]

    assert own_search_path(path, python_path="", folder="/here", home="/ours") == path


@pytest.mark.parametrize("command", [["--version"], ["doctor", "--help"], ["up", "--help"], ["jobs"], ["migrate"]])
@pytest.mark.parametrize("start", [[TX81], [sys.executable, "-m", "tx81"]], ids=["tx81", "python -m tx81"])
def test_packages_of_others_break_no_command(foreign: Path, tmp_path: Path, start: list, command: list[str]):
    env = {**os.environ, **OTHERS, "PYTHONPATH": str(foreign), "TX81_STATE_DIR": str(tmp_path / "state")}

    ran = subprocess.run([*start, *command], cwd=foreign, env=env, capture_output=True, text=True, check=False)

    assert "theirs" not in ran.stdout + ran.stderr
    assert ran.returncode == (3 if command == ["jobs"] else 0), ran.stderr


@pytest.mark.parametrize("module", ["api", "api.flower", "migrations", "orchestrator.dispatcher", "workers"])
def test_a_service_forgets_the_environment_of_others_before_it_imports_anything(module: str):
    source = ROOT.joinpath(*module.split("."), "__main__.py").read_text()

    _docstring, imported, guard, *_, start = ast.parse(source).body

    assert ast.unparse(imported) == "from tx81.start import begin_service, modules_loaded"
    assert ast.unparse(guard) == "if __name__ == '__main__':\n    begin_service()"
    assert ast.unparse(start).startswith("if __name__ == '__main__':\n    modules_loaded()\n")


def test_nothing_of_others_is_left_in_the_environment_of_a_service():
    program = "import os; from tx81.start import begin_service; begin_service(); print(*os.environ)"

    ran = subprocess.run([sys.executable, "-c", program], env=os.environ | HARMFUL, capture_output=True, check=True)

    assert set(ran.stdout.decode().split()) & set(HARMFUL) == set()


def test_the_database_of_the_settings_is_asked_whatever_libpq_reads_in_the_environment(own_postgres_url: str):
    env = {**os.environ, **HARMFUL, "TX81_DATABASE_URL": own_postgres_url}

    ran = subprocess.run([sys.executable, "-P", "-m", "migrations"], env=env, capture_output=True, check=False)

    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("command", [["-m", "migrations"], ["-m", "workers", "--help"]])
def test_a_service_that_is_started_by_hand_in_a_folder_of_others_imports_ours(
    foreign: Path, tmp_path: Path, command: list[str]
):
    shutil.rmtree(foreign / command[1])  # Python itself would start that one
    env = {**os.environ, **HARMFUL, "PYTHONPATH": str(foreign), "TX81_STATE_DIR": str(tmp_path / "state")}

    ran = subprocess.run([sys.executable, *command], cwd=foreign, env=env, capture_output=True, text=True, check=False)

    assert ran.returncode == 0, ran.stderr


SAYS = """
import json, os, sys
from orchestrator.broker import create_app
print(json.dumps([create_app("redis://ours:6379/0").{how}.hostname]))
"""


@pytest.mark.parametrize("how", ["connection()", "connection_for_read()", "connection_for_write()"])
def test_the_configured_broker_is_asked_whatever_celery_reads_in_the_environment(how: str):
    env = {**os.environ, **HARMFUL, "CELERY_BROKER_READ_URL": "redis://theirs", "CELERY_BROKER_WRITE_URL": "redis://x"}

    ran = subprocess.run([sys.executable, "-c", SAYS.format(how=how)], env=env, capture_output=True, check=True)

    assert json.loads(ran.stdout) == ["ours"]
