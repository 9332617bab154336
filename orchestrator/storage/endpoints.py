"""The mapped class of endpoints; what may change it is in `orchestrator.jobs.endpoints`, what closes it in
`holding`."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.base import Base

_OPEN = text("closed_at IS NULL")


class Endpoint(Base):
    """Where one attempt at a `serve` job answers, from the moment it was ready. Open until the attempt ends."""

    __tablename__ = "endpoint"
    __table_args__ = (Index("ix_endpoint_open", "model", sqlite_where=_OPEN, postgresql_where=_OPEN),)

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True)
    job_id: Mapped[int] = mapped_column(ForeignKey("job.id"), index=True)
    model: Mapped[str] = mapped_column(String(100))
    """As it is registered."""
    served_id: Mapped[str] = mapped_column(Text)
    """What the server calls the model; a request has to name it so."""
    url: Mapped[str] = mapped_column(String(300))
    """`http://ADDRESS:PORT`, below which the paths of OpenAI's interface begin with `/v1`."""
    groups: Mapped[int]
    """Card groups, each of which has one request at a time."""
    ready_at: Mapped[datetime]
    last_used_at: Mapped[datetime | None]
    """Not every use is noted: a few seconds may lie between two notes."""
    closed_at: Mapped[datetime | None]
