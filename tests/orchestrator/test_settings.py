import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import make_url, text

from orchestrator.settings import Settings
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


@pytest.mark.parametrize("name", HOSTILE)
def test_migrations_run_from_a_checkout_and_in_a_state_folder_of_any_name(tmp_path: Path, name: str):
    shutil.copytree(ROOT / "migrations", tmp_path / name / "migrations")
    env = {**os.environ, "TX81_STATE_DIR": str(tmp_path / name / "state")}

    ran = subprocess.run(
        [sys.executable, "-m", "migrations"], cwd=tmp_path / name, env=env, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / name / "state/tx81.db").stat().st_size > 0
