import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from orchestrator import tokens
from orchestrator.errors import AlreadyExists, Unauthenticated
from orchestrator.storage.tables import Token


def test_a_token_is_known_by_what_was_shown_once(database):
    plain = tokens.make(database, "ci", ("submitter",))

    with database.read() as session:
        bearer = tokens.verify(session, plain)

    assert plain.startswith("tx81_")
    assert (bearer.name, bearer.scopes) == ("ci", ("submitter",))


def test_only_a_hash_is_kept(database):
    plain = tokens.make(database, "ci", ())

    with database.read() as session:
        row = session.scalars(select(Token)).one()

    assert plain not in str(vars(row))
    assert len(row.sha256) == 64


@pytest.mark.parametrize("wrong", ["", "tx81_", "tx81_" + "x" * 10_000, "Tx81_a", "\udcff", "tx81_\udcff", "名"])
def test_anything_else_is_refused(database, wrong):
    tokens.make(database, "ci", ())

    with database.read() as session, pytest.raises(Unauthenticated):
        tokens.verify(session, wrong)


def test_a_name_is_given_once(database):
    tokens.make(database, "ci", ())

    with pytest.raises(AlreadyExists):
        tokens.make(database, "ci", ())


def test_the_first_start_leaves_an_admin_token_that_only_its_owner_can_read(database, tmp_path: Path):
    file = tmp_path / "new" / "admin-token"

    first, second = tokens.make_first(database, file), tokens.make_first(database, file)

    with database.read() as session:
        bearer = tokens.verify(session, file.read_text().strip())
    assert (first, second) == (True, False)
    assert bearer.scopes == ("admin",)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(file.parent.iterdir()) == [file]


def test_the_file_holds_the_token_that_counts_when_many_start_at_once(database, tmp_path: Path):
    file = tmp_path / "admin-token"

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: tokens.make_first(database, file), range(8)))

    assert made.count(True) == 1
    with database.read() as session:
        assert tokens.verify(session, file.read_text().strip()).name == "admin"


def test_no_token_counts_that_could_not_be_left(database, tmp_path: Path):
    (tmp_path / "a-file").touch()

    with pytest.raises(OSError, match="a-file"):
        tokens.make_first(database, tmp_path / "a-file" / "admin-token")

    with database.read() as session:
        assert session.scalars(select(Token)).all() == []
