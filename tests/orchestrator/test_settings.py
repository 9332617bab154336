import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from orchestrator.settings import BadSettings, Settings, check_addresses, load_settings
from orchestrator.storage.database import Database

ROOT = Path(__file__).parents[2]
HOSTILE = [
    "lab?1",
    "my%20lab",
    "50%25",
    "a#b",
    "with a blank",
    "状态",
    "a+b",
    "quote'\"s",
    "a&b=c;d",
    "100%",
    "back\\slash",
    "~:@",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_the_database_is_in_the_state_folder_whatever_that_is_called(tmp_path: Path, name: str):
    state = tmp_path / name
    state.mkdir()

    database = Database(Settings(state_dir=state).database)
    with database.write() as session:
        session.execute(text("CREATE TABLE there (is_one INTEGER)"))
    database.close()

    assert (state / "tx81.db").is_file()
    assert {file.parent for file in tmp_path.rglob("*") if file.is_file()} == {state}


def test_two_state_folders_never_share_a_database(tmp_path: Path):
    databases = {make_url(Settings(state_dir=tmp_path / name).database).database for name in HOSTILE}

    assert databases == {str(tmp_path / name / "tx81.db") for name in HOSTILE}


@pytest.mark.slow
def test_migrations_run_from_a_checkout_and_in_a_state_folder_of_any_name(tmp_path: Path):
    name = "".join(HOSTILE)
    shutil.copytree(ROOT / "migrations", tmp_path / name / "migrations")
    env = {**os.environ, "TX81_STATE_DIR": str(tmp_path / name / "state")}

    ran = subprocess.run(
        [sys.executable, "-m", "migrations"], cwd=tmp_path / name, env=env, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / name / "state/tx81.db").stat().st_size > 0


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("TX81_API_PORT", "tcp://10.0.0.1:8081", "'tcp://10.0.0.1:8081'"),
        ("TX81_API_PORT", "70000", "65535"),
        ("TX81_FLOWER_PORT", "x", "integer"),
        ("TX81_LABELS", "{", "JSON"),
        ("TX81_LABELS", '{"a": 1}', "'a'"),
        ("TX81_LEASE", "soon", "'soon'"),
        ("TX81_HEARTBEAT", "99", "TX81_LEASE_MARGIN"),
        ("TX81_SERVE_PORTS", "[1]", "TX81_SERVE_PORTS"),
        ("TX81_ENDPOINT_HOSTS", '["http://lab2:8000"]', "HOST:PORT"),
        ("TX81_ENDPOINT_HOSTS", '["localhost"]', "needs a port"),
        ("TX81_DATABASE_URL", "mysql://u:secret@h/x", "postgresql://"),
        ("TX81_DATABASE_URL", "postgresql://u:se/cret@h/x", "percent-encode"),
        ("TX81_DATABASE_URL", "sqlite:", "sqlite:///"),
        ("TX81_BROKER_URL", "localhost:6379", "redis://"),
        ("TX81_BROKER_URL", "redis://:secret@h:port/0", "percent-encode"),
        ("TX81_STATE_DIR", "/tmp/\udcff", "UTF-8"),
    ],
)
def test_a_variable_that_cannot_be_used_is_named_in_one_line_and_no_password_is(monkeypatch, name, value, told):
    monkeypatch.setenv(name, value)

    with pytest.raises(BadSettings) as refused:
        check_addresses(load_settings())

    assert name in str(refused.value)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not {"secret", "se/cret"} & set(str(refused.value).split(":"))


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u@/x?host=/run/pg&options=-c%20a:b",
        "postgresql://u:p%2Fq@[::1]:5432/x",
        "postgresql+psycopg://h1:5432,h2:5432/x",
        "sqlite:////srv/a:b/tx81.db",
    ],
)
def test_usual_addresses_of_databases_are_taken(url):
    settings = Settings(database_url=url)
    check_addresses(settings)

    assert settings.database == url


@pytest.mark.parametrize(
    "command",
    [["api"], ["api.flower"], ["migrations"], ["orchestrator.dispatcher"], ["workers", "--slot", "g0"]],
    ids=lambda command: command[0],
)
@pytest.mark.slow
def test_a_service_with_a_bad_setting_ends_with_one_line(tmp_path: Path, command: list[str]):
    env = {**os.environ, "TX81_STATE_DIR": str(tmp_path), "TX81_API_PORT": "tcp://10.0.0.1:8081"}

    ran = subprocess.run([sys.executable, "-m", *command], env=env, capture_output=True, text=True, check=False)

    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stderr.startswith("TX81_API_PORT")


@pytest.mark.parametrize(
    ("name", "value"),
    [("TX81_DATABASE_URL", "postgres://u:secret@127.0.0.1:1/x"), ("TX81_STATE_DIR", "/proc/nowhere")],
)
@pytest.mark.slow
def test_a_migration_that_cannot_begin_says_why_in_one_line(tmp_path: Path, name: str, value: str):
    env = {**os.environ, "TX81_STATE_DIR": str(tmp_path), name: value}

    ran = subprocess.run([sys.executable, "-m", "migrations"], env=env, capture_output=True, text=True, check=False)

    assert ran.returncode == 2
    assert len(ran.stderr.splitlines()) == 1
    assert ran.stderr.startswith(name)
    assert "secret" not in ran.stderr
