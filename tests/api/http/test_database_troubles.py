"""A database that answers and cannot be used: not migrated, or on a full disk; on both databases."""

from collections.abc import Iterator

import pytest
from builders.databases import both_databases
from sqlalchemy import event

pytestmark = both_databases


def _execute(database, *statements: str) -> None:
    with database.engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


@pytest.fixture
def no_tokens(database) -> Iterator[None]:
    """The database lacks a table that every request reads."""
    _execute(database, "ALTER TABLE token RENAME TO not_yet")
    yield
    _execute(database, "ALTER TABLE not_yet RENAME TO token")


@pytest.mark.parametrize("path", ["/projects", "http://testserver/v1/models"])
def test_a_database_that_is_not_migrated_is_told_in_one_line_with_the_remedy(http, no_tokens, caplog, path):
    answer = http.get(path)

    assert answer.status_code == 503
    assert answer.headers["Retry-After"]
    assert "database_not_migrated" in answer.text
    assert "tx81 migrate" in answer.text
    (told,) = [record for record in caplog.records if record.name.startswith("api.http")]
    assert told.exc_info is None
    assert "token" in told.getMessage()
    assert "tx81 migrate" in told.getMessage()


def test_a_database_that_lacks_a_column_is_not_migrated_either(http, database):
    _execute(database, "ALTER TABLE project RENAME COLUMN weight TO heaviness")
    answer = http.get("/projects")
    _execute(database, "ALTER TABLE project RENAME COLUMN heaviness TO weight")

    assert (answer.status_code, answer.json()["code"]) == (503, "database_not_migrated")


@pytest.fixture
def full_disk(database) -> Iterator[None]:
    """The database refuses to grow, as it does on a full disk."""
    if database.is_sqlite:

        @event.listens_for(database.engine, "begin")
        def smaller(connection):
            connection.exec_driver_sql("PRAGMA max_page_count = 1")

        yield
        event.remove(database.engine, "begin", smaller)
        with database.engine.begin() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1000000000")
        return
    with database.engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE FUNCTION grow() RETURNS trigger AS $$ BEGIN RAISE EXCEPTION 'could not extend file' "
            "USING ERRCODE = 'disk_full'; END $$ LANGUAGE plpgsql"
        )
        connection.exec_driver_sql("CREATE TRIGGER grow BEFORE INSERT ON project EXECUTE FUNCTION grow()")
    yield
    with database.engine.begin() as connection:
        connection.exec_driver_sql("DROP FUNCTION grow CASCADE")


def test_a_full_disk_of_the_database_is_told_as_every_full_disk(http, full_disk):
    refused = None
    for number in range(2000):  # what is left of a page is used first
        answer = http.put(f"/projects/{'x' * 90}{number}", json={"weight": 2})
        if answer.status_code != 200:
            refused = answer
            break

    assert refused is not None
    assert (refused.status_code, refused.json()["code"]) == (507, "database_full")
    assert http.get("/projects").status_code == 200
