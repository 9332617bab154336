"""Sessions and links on both databases."""

import pytest
from builders.databases import at_once
from sqlalchemy import select, update

from orchestrator import sign_ins, tokens
from orchestrator.errors import Unauthenticated
from orchestrator.storage.tables import SignInLink, WebSession


@pytest.fixture
def bearer(database):
    plain = tokens.make(database, "eva", ("viewer",))
    with database.read() as session:
        return tokens.verify(session, plain)


def test_of_two_browsers_that_use_a_link_at_once_one_is_signed_in(database, bearer):
    code, _ = sign_ins.make_link(database, bearer)

    def use() -> str | None:
        try:
            return sign_ins.use_link(database, code)
        except Unauthenticated:
            return None

    secrets = [secret for secret in at_once(use, use) if secret is not None]

    assert len(secrets) == 1
    with database.read() as session:
        assert sign_ins.bearer_of(session, secrets[0], database.now(session)) == bearer
        assert session.scalars(select(SignInLink)).all() == []


def test_what_has_expired_is_removed_by_the_next_one(database, bearer):
    for _ in range(2):
        sign_ins.use_link(database, sign_ins.make_link(database, bearer)[0])
        sign_ins.make_link(database, bearer)
    with database.write() as session:
        for kind in (WebSession, SignInLink):
            session.execute(update(kind).values(expires_at=database.now(session)))

    sign_ins.use_link(database, sign_ins.make_link(database, bearer)[0])

    with database.read() as session:
        assert len(session.scalars(select(WebSession)).all()) == 1
        assert session.scalars(select(SignInLink)).all() == []


def test_a_token_that_is_rotated_ends_its_sessions_and_links(database, bearer):
    secret = sign_ins.use_link(database, sign_ins.make_link(database, bearer)[0])
    code, _ = sign_ins.make_link(database, bearer)

    tokens.rotate(database, "eva", by="admin")

    with database.read() as session, pytest.raises(Unauthenticated):
        sign_ins.bearer_of(session, secret, database.now(session))
    with pytest.raises(Unauthenticated):
        sign_ins.use_link(database, code)
