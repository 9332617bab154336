"""Browsers that are signed in: a session for each, got by showing a token once, or by a link that works once.

A session is a row and not a signed cookie: signing out ends it at once on the server, and there is no key that every
process of the API would have to share. Each request joins it with its token, so that it ends when the token is revoked,
and has never more than the token's scopes. Secrets are 256 random bits, stored as their SHA-256 as tokens are.
"""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from orchestrator.errors import Forbidden, Unauthenticated
from orchestrator.model.scopes import Scope, allows
from orchestrator.storage import events
from orchestrator.storage.database import Database
from orchestrator.storage.tables import SignInLink, Token, WebSession
from orchestrator.tokens import Bearer, verify

SESSION_LIFE = timedelta(days=7)
"""After which a person signs in again; a board on a wall is seen to once a week."""

LINK_LIFE = timedelta(minutes=10)
"""Long enough to copy a link from a terminal to a browser."""

_LONGEST = 200


def sign_in(database: Database, token: str) -> str:
    """The secret of a new session for who holds this token.

    Unauthenticated if it is unknown or was revoked, Forbidden if it may not read."""
    with database.write() as session:
        return _begin(database, session, verify(session, token))


def make_link(database: Database, bearer: Bearer) -> tuple[str, datetime]:
    """A code that signs one browser in as this caller, and when it expires."""
    code = secrets.token_urlsafe(32)
    with database.write() as session:
        now = database.now(session)
        session.execute(delete(SignInLink).where(SignInLink.expires_at <= now))
        session.add(SignInLink(sha256=_digest(code), token_id=bearer.token_id, expires_at=now + LINK_LIFE))
        return code, now + LINK_LIFE


def use_link(database: Database, code: str) -> str:
    """The secret of a new session for who made the link; Unauthenticated if it was used, or is too old."""
    with database.write() as session:
        live = (SignInLink.sha256 == _digest(code), SignInLink.expires_at > database.now(session))
        used = session.scalar(delete(SignInLink).where(*live).returning(SignInLink.token_id))
        token = None if used is None else session.get(Token, used)
        if token is None or token.revoked_at is not None:
            raise Unauthenticated("this link was used already or is too old; get another one with: tx81 open")
        return _begin(database, session, Bearer(token.id, token.name, tuple(token.scopes)))


def bearer_of(session: Session, secret: str, now: datetime) -> Bearer:
    """Who is signed in; Unauthenticated if the session has ended or its token was revoked."""
    live = (WebSession.sha256 == _digest(secret), WebSession.expires_at > now, Token.revoked_at.is_(None))
    token = session.scalars(select(Token).join(WebSession, WebSession.token_id == Token.id).where(*live)).one_or_none()
    if token is None:
        raise Unauthenticated("the session has ended; sign in again")
    return Bearer(token.id, token.name, tuple(token.scopes))


def sign_out(database: Database, secret: str) -> None:
    """End a session; does nothing if it has ended."""
    with database.write() as session:
        session.execute(delete(WebSession).where(WebSession.sha256 == _digest(secret)))


def order_code(secret: str) -> str:
    """What every order of a session carries: a page of another site can neither read nor compute it."""
    return hmac.new(_bytes(secret), b"orders", hashlib.sha256).hexdigest()


def fits(secret: str, code: str) -> bool:
    """Whether an order with this code was made by a page of the session."""
    return hmac.compare_digest(order_code(secret).encode(), _bytes(code))


def _begin(database: Database, session: Session, bearer: Bearer) -> str:
    _refuse_blind(bearer.name, bearer.scopes)
    secret, now = secrets.token_urlsafe(32), database.now(session)
    session.execute(delete(WebSession).where(WebSession.expires_at <= now))
    expires_at = now + SESSION_LIFE
    session.add(
        WebSession(sha256=_digest(secret), token_id=bearer.token_id, created_at=now, expires_at=expires_at)
    )  # fmt: skip
    events.record(session, "token.signed_in", now, name=bearer.name)
    return secret


def _refuse_blind(name: str, scopes: Sequence[str]) -> None:
    if not allows(scopes, Scope.VIEWER):
        raise Forbidden(f"token {name} has no scope to read pages; an admin can create another one: {_REMEDY}")


_REMEDY = "tx81 tokens create NAME --scope viewer"


def _digest(secret: str) -> str:
    return hashlib.sha256(_bytes(secret)[:_LONGEST]).hexdigest()


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
