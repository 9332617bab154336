"""What an attempt produces: answers, numbers, doubts about them, and its log while it is written."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.storage.tables.base import Base, BigKey, Document


class Answer(Base):
    """One prompt's response in one repeat of one batch."""

    __tablename__ = "answer"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True)
    repeat: Mapped[int] = mapped_column(primary_key=True)
    index: Mapped[int] = mapped_column(primary_key=True)
    batch: Mapped[int] = mapped_column(primary_key=True, default=0, server_default="0")
    """Which of the attempt's slots gave it: the place in `slot_ids`, from 0."""
    batch_size: Mapped[int | None]
    """How many slots answered side by side then; repeats count on from one batch size to the next."""
    question: Mapped[str] = mapped_column(Text)
    text: Mapped[str] = mapped_column(Text)
    prompt_tokens: Mapped[int | None]
    output_tokens: Mapped[int | None]
    seconds: Mapped[float | None]
    ttft_seconds: Mapped[float | None]
    finish_reason: Mapped[str | None] = mapped_column(String(40))
    golden: Mapped[str | None] = mapped_column(Text)
    exact: Mapped[bool | None]
    """Equal to the golden answer character for character; null without one."""


class Metric(Base):
    """One number with its unit and the definition it was computed by."""

    __tablename__ = "metric"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True)
    name: Mapped[str] = mapped_column(String(60), primary_key=True)
    value: Mapped[float]
    unit: Mapped[str] = mapped_column(String(20))
    definition: Mapped[str] = mapped_column(String(60))
    count: Mapped[int]
    counter: Mapped[str | None] = mapped_column(String(40))
    """Who counted the tokens: `tool` or a tokenizer's name."""


class Doubt(Base):
    """Why the results of an attempt are shown but not used: evidence about its cards, found elsewhere than in these
    results. A row stays; one that is lifted no longer counts."""

    __tablename__ = "doubt"

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), index=True)
    slot_id: Mapped[str] = mapped_column(String(80))
    reason: Mapped[str] = mapped_column(String(40))
    evidence: Mapped[Document]
    at: Mapped[datetime]
    lifted: Mapped[Document | None]
    """Who lifted it, when and why; null while it counts."""


class LogChunk(Base):
    """A compressed piece of a running attempt's log; removed when the log is sealed."""

    __tablename__ = "log_chunk"

    attempt_id: Mapped[int] = mapped_column(ForeignKey("attempt.id"), primary_key=True)
    offset: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    size: Mapped[int]
    newlines: Mapped[int] = mapped_column(server_default="0")
    """How many it has: in which piece a line begins is found without unpacking the others."""
    zst: Mapped[bytes] = mapped_column(LargeBinary)
    at: Mapped[datetime | None]
    """When it was shipped, by the clock of its host."""
