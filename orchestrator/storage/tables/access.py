"""Who may ask, and what a repeated request made before."""

from datetime import datetime

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.tables.base import Base, Document


class Token(Base):
    """A bearer token; only its SHA-256 is kept."""

    __tablename__ = "token"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), unique=True)
    sha256: Mapped[str] = mapped_column(String(64), unique=True)
    scopes: Mapped[list[str]]
    created_at: Mapped[datetime]
    revoked_at: Mapped[datetime | None]
    """Since when it is refused. The row stays, for what it did and so that its name is never another's."""


class WebSession(Base):
    """A browser that is signed in with a token; only the SHA-256 of its secret is kept."""

    __tablename__ = "web_session"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("token.id"))
    created_at: Mapped[datetime]
    expires_at: Mapped[datetime] = mapped_column(index=True)


class SignInLink(Base):
    """A link that signs one browser in; its row goes with its use."""

    __tablename__ = "sign_in_link"

    sha256: Mapped[str] = mapped_column(String(64), primary_key=True)
    token_id: Mapped[int] = mapped_column(ForeignKey("token.id"))
    expires_at: Mapped[datetime] = mapped_column(index=True)


class JobList(Base):
    """Filters of the list of jobs that a person keeps under a name."""

    __tablename__ = "job_list"

    owner: Mapped[str] = mapped_column(String(100), primary_key=True)
    """The name of a token."""
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    query: Mapped[str] = mapped_column(String(2000))
    """As in the address of the list: `state=failed&project=nlp`."""
    opens_first: Mapped[bool]
    """Whether the list begins with it; of at most one of an owner."""


class IdempotencyRecord(Base):
    """What an Idempotency-Key made, written in the transaction that made it."""

    __tablename__ = "idempotency"

    token_id: Mapped[int] = mapped_column(ForeignKey("token.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(200), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    made: Mapped[Document]
    created_at: Mapped[datetime]
