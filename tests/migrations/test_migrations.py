"""The way from nothing to the tables and back."""

import os
import re
import time
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from builders.databases import rows
from builders.lifecycle import a_running_attempt
from sqlalchemy import inspect, select
from sqlalchemy.exc import OperationalError

import migrations
from migrations.__main__ import config, default_differs
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Base, Job

VERSIONS = Path(migrations.__file__).with_name("versions")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str:
    """A database that the migrations have brought to the newest schema."""
    return request.getfixturevalue("sqlite_url" if request.param == "sqlite" else "own_postgres_url")


def _tables(url: str) -> set[str]:
    database = Database(url)
    with database.engine.connect() as connection:
        found = set(inspect(connection).get_table_names())
    database.close()
    return found - {"alembic_version"}


def _differences(url: str) -> list:
    database = Database(url)
    with database.engine.connect() as connection:
        opts = {"compare_server_default": default_differs, "compare_type": True}
        context = MigrationContext.configure(connection, opts=opts)
        found = compare_metadata(context, Base.metadata)
    database.close()
    return found


def test_the_migrations_make_exactly_the_tables_of_the_code(url: str):
    assert _differences(url) == []


def test_the_way_down_leaves_nothing_and_the_way_up_again_everything(url: str):
    command.downgrade(config(url), "base")
    down = _tables(url)
    command.upgrade(config(url), "head")

    assert down == set()
    assert _tables(url) == {table.name for table in Base.metadata.sorted_tables}
    assert _differences(url) == []


def test_upgrading_what_is_up_to_date_changes_nothing(url: str):
    command.upgrade(config(url), "head")

    assert _differences(url) == []


def test_every_step_can_be_undone_and_done_again(url: str):
    steps = len(list(ScriptDirectory.from_config(config(url)).walk_revisions()))

    for _ in range(steps):
        command.downgrade(config(url), "-1")
    for _ in range(steps):
        command.upgrade(config(url), "+1")

    assert _differences(url) == []


def test_there_is_exactly_one_newest_schema():
    assert len(ScriptDirectory.from_config(config()).get_heads()) == 1


def test_migrations_are_named_by_date_time_and_what_they_do():
    names = [file.name for file in VERSIONS.glob("*.py")]

    assert names
    assert all(re.fullmatch(r"20\d\d_[01]\d_[0-3]\d_[0-2]\d[0-5]\d_[a-z0-9]+(_[a-z0-9]+)*\.py", name) for name in names)


def test_migrations_follow_each_other_in_the_order_of_their_names():
    revisions = list(ScriptDirectory.from_config(config()).walk_revisions())

    names = [Path(revision.path).name for revision in reversed(revisions)]
    assert names == sorted(file.name for file in VERSIONS.glob("*.py"))


def test_rows_survive_the_way_down_and_up_again(url: str):
    database = Database(url)
    with database.write() as session:
        number = a_running_attempt(session).job_id
    before = rows(database)

    command.downgrade(config(url), "-1")
    command.upgrade(config(url), "head")

    assert rows(database) == before
    with database.read() as session:
        job = session.get_one(Job, number)
        assert (job.held, job.rank, job.hold) == (False, 0, None)
        attempt = session.scalars(select(Attempt)).one()
        assert attempt.slot_ids == [attempt.slot_id]
    database.close()


def _one_more(url: str, folder: Path) -> tuple[Config, Path]:
    """The configuration with one more migration in `folder`, written from the template: a new column of `job`."""
    made = config(url)
    made.set_main_option("path_separator", "os")
    made.set_main_option("version_locations", f"{VERSIONS}{os.pathsep}{folder}")
    script = command.revision(made, "jobs have a colour", version_path=str(folder))
    file = Path(script.path)
    up, down = file.read_text().split("def downgrade")
    up = up.replace("    pass", "    op.add_column('job', sa.Column('colour', sa.Integer()))")
    down = down.replace("    pass", "    op.drop_column('job', 'colour')")
    file.write_text(f"{up}def downgrade{down}")
    return made, file


def _columns_of_job(url: str) -> set[str]:
    database = Database(url)
    with database.engine.connect() as connection:
        found = {column["name"] for column in inspect(connection).get_columns("job")}
    database.close()
    return found


def test_a_new_migration_limits_its_waits_for_locks_and_runs_up_and_down(url: str, tmp_path: Path):
    made, file = _one_more(url, tmp_path)

    command.upgrade(made, "head")
    up = _columns_of_job(url)
    command.downgrade(made, "-1")

    assert "colour" in up
    assert "colour" not in _columns_of_job(url)
    for function in ("upgrade", "downgrade"):
        assert f"def {function}() -> None:\n    limit_lock_waits()\n" in file.read_text()


def test_a_migration_of_a_locked_table_fails_in_time_and_succeeds_later(own_postgres_url: str, tmp_path: Path):
    made, file = _one_more(own_postgres_url, tmp_path)
    assert "lock_timeout = '5s'" in file.read_text()
    file.write_text(file.read_text().replace("lock_timeout = '5s'", "lock_timeout = '200ms'"))
    database = Database(own_postgres_url)

    with database.engine.connect() as reader:
        reader.exec_driver_sql("LOCK TABLE job IN ACCESS SHARE MODE")
        began = time.monotonic()
        with pytest.raises(OperationalError, match="lock timeout"):
            command.upgrade(made, "head")
        waited = time.monotonic() - began
    before = _columns_of_job(own_postgres_url)
    command.upgrade(made, "head")
    database.close()

    assert waited < 5
    assert "colour" not in before
    assert "colour" in _columns_of_job(own_postgres_url)
