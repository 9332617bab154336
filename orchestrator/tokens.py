"""Bearer tokens: created once, shown once, stored only as a hash.

A token is 256 random bits, so a plain SHA-256 is enough to store it (a slow hash protects guessable passwords), and
it can be looked up by that hash: an attacker cannot choose the hash of a guess, so the comparison of the index leaks
nothing useful. The final comparison takes constant time in any case.
"""

import hashlib
import hmac
import os
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from orchestrator.errors import AlreadyExists, IllegalTransition, NotFound, Unauthenticated
from orchestrator.model.scopes import Scope, allows
from orchestrator.storage import events
from orchestrator.storage.database import Database
from orchestrator.storage.tables import SignInLink, Token, WebSession

PREFIX = "tx81_"
"""Lets secret scanners and people recognise a leaked token."""

_LONGEST = 200


@dataclass(frozen=True)
class Bearer:
    """The caller."""

    token_id: int
    name: str
    scopes: tuple[str, ...]


def make(database: Database, name: str, scopes: tuple[str, ...], *, by: str | None = None) -> str:
    """A new token, in plain text this one time; AlreadyExists if the name is taken, also by a revoked one.

    `by` is the user who requested it, recorded in the event; None if the installation itself does.
    """
    plain = _random()
    try:
        with database.write() as session:
            _insert(database, session, name, scopes, plain)
            if by is not None:
                events.record(session, "token.made", database.now(session), name=name, scopes=list(scopes), by=by)
    except IntegrityError:
        raise AlreadyExists(f"there is a token {name} already; choose another name", field="name") from None
    return plain


def known(session: Session) -> Sequence[Token]:
    """All tokens by name, including revoked ones."""
    return session.scalars(select(Token).order_by(Token.name)).all()


def revoke(database: Database, name: str, *, by: str) -> None:
    """Revoke a token, from the next request on; does nothing if it is revoked already.

    NotFound if there is none. IllegalTransition if it is the last one that may create tokens.
    """
    with database.write() as session:
        database.serialise(session, "tokens")
        rows = {token.name: token for token in known(session)}
        if name not in rows:
            raise NotFound(f"there is no token {name}; see: tx81 tokens", field="name")
        left = [token for token in rows.values() if token.name != name and token.revoked_at is None]
        if not any(allows(token.scopes, Scope.ADMIN) for token in left):
            raise IllegalTransition(f"{name} is the last admin token: create another one first, then revoke it")
        if rows[name].revoked_at is None:
            rows[name].revoked_at = now = database.now(session)
            events.record(session, "token.revoked", now, name=name, by=by)


def rotate(database: Database, name: str, *, by: str) -> str:
    """A new value for a token, in plain text this one time; the old one is refused from the next request on, and the
    browsers that it signed in sign in again.

    NotFound if there is no such token, IllegalTransition if it was revoked.
    """
    plain = _random()
    with database.write() as session:
        token = session.scalars(select(Token).where(Token.name == name).with_for_update()).one_or_none()
        if token is None:
            raise NotFound(f"there is no token {name}; see: tx81 tokens", field="name")
        if token.revoked_at is not None:
            raise IllegalTransition(f"token {name} was revoked; create one with another name: tx81 tokens create")
        token.sha256 = _digest(plain)
        for signed_in in (WebSession, SignInLink):
            session.execute(delete(signed_in).where(signed_in.token_id == token.id))
        events.record(session, "token.rotated", database.now(session), name=name, by=by)
    return plain


def verify(session: Session, plain: str) -> Bearer:
    """The caller that the token belongs to; Unauthenticated if it is unknown or was revoked."""
    if plain.startswith(PREFIX) and len(plain) <= _LONGEST:
        digest = _digest(plain)
        token = session.scalars(select(Token).where(Token.sha256 == digest)).one_or_none()
        if token is not None and token.revoked_at is None and hmac.compare_digest(token.sha256, digest):
            return Bearer(token.id, token.name, tuple(token.scopes))
    raise Unauthenticated(
        "the bearer token is unknown or was revoked; the first start of the API wrote one to the admin token file"
    )


def make_first(database: Database, file: Path) -> bool:
    """Write an admin token to `file` (mode 600) if no token exists yet; returns whether it did.

    Safe when several processes start at once: the row decides who writes the file, and the file is whole before the
    row is committed, so that a crash in between leaves no token whose value is lost.
    """
    plain = _random()
    try:
        with database.write() as session:
            if session.scalar(select(Token.id).limit(1)) is not None:
                return False
            _insert(database, session, "admin", ("admin",), plain)
            _leave(file, plain)
    except IntegrityError:
        return False
    return True


def _insert(database: Database, session: Session, name: str, scopes: tuple[str, ...], plain: str) -> None:
    session.add(Token(name=name, sha256=_digest(plain), scopes=list(scopes), created_at=database.now(session)))
    session.flush()


def _leave(file: Path, plain: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(f"{plain}\n")
        stream.flush()
        os.fsync(descriptor)
    partial.replace(file)


def _random() -> str:
    return PREFIX + secrets.token_urlsafe(32)


def _digest(plain: str) -> str:
    return hashlib.sha256(plain.encode("utf-8", "surrogateescape")).hexdigest()
