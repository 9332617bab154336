"""What jobs are made from: models, releases and what hosts have of them, stored files and trees."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from orchestrator.model.retirements import Retirable
from orchestrator.storage.tables.base import Base, BigKey, Document


class Model(Base):
    """A registered weights directory with the config.json files that its uses need."""

    __tablename__ = "model"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    path: Mapped[str] = mapped_column(Text)
    family: Mapped[str] = mapped_column(String(40))
    official_config: Mapped[Document | None]
    tx81_config: Mapped[Document | None]
    digest: Mapped[str] = mapped_column(String(71))
    """Of everything in the folder but config.json, which conversion and inference each need another of."""
    size: Mapped[int] = mapped_column(BigInteger)
    stamp: Mapped[str | None] = mapped_column(String(71))
    """Of the names, sizes and times of the files of `digest`: as long as it is the same, they were not written to."""
    weights: Mapped[str | None] = mapped_column(String(71))
    """Of the *.safetensors alone; the same for folders that differ in tokenizer or papers. Null on older rows."""
    created_at: Mapped[datetime]


class Release(Base):
    """One installed build of the vendor's tools: a profile and the root it is installed at."""

    __tablename__ = "release"

    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    profile: Mapped[Document]
    root: Mapped[str] = mapped_column(Text)
    digest: Mapped[str] = mapped_column(String(71))
    is_default: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]


class CheckedRelease(Base):
    """The latest check of a release on one host."""

    __tablename__ = "release_check"

    release: Mapped[str] = mapped_column(ForeignKey("release.name"), primary_key=True)
    host: Mapped[str] = mapped_column(String(100), primary_key=True)
    root: Mapped[str] = mapped_column(Text)
    """Where it was looked for on that host."""
    ok: Mapped[bool]
    findings: Mapped[list[Document]] = mapped_column(JSON)
    by: Mapped[str] = mapped_column(String(100))
    checked_at: Mapped[datetime]


class Artifact(Base):
    """A stored file or tree, as one job's named output or as an input taken in at submission."""

    __tablename__ = "artifact"
    __table_args__ = (UniqueConstraint("job_id", "attempt_id", "name"), Index("ix_artifact_digest", "digest"))

    id: Mapped[int] = mapped_column(BigKey, primary_key=True)
    digest: Mapped[str] = mapped_column(String(71))
    tree: Mapped[bool]
    name: Mapped[str] = mapped_column(String(100))
    """What the producing kind calls it: gm, c_source, kcore, answers, log … ; `prompts`, `golden` for inputs."""
    file_name: Mapped[str] = mapped_column(String(255))
    size: Mapped[int] = mapped_column(BigInteger)
    job_id: Mapped[int | None] = mapped_column(ForeignKey("job.id"))
    attempt_id: Mapped[int | None] = mapped_column(ForeignKey("attempt.id"))
    facts: Mapped[Document | None]
    """Of one that was imported: what is known of how it was made. A job's output is known by its job."""
    created_at: Mapped[datetime]


class Retirement(Base):
    """One thing that a person has retired: hidden from lists and refused for new jobs, until it is un-retired."""

    __tablename__ = "retirement"

    kind: Mapped[Retirable] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(100), primary_key=True)
    """Of an artifact its digest."""
    by: Mapped[str] = mapped_column(String(100))
    note: Mapped[str | None] = mapped_column(Text)
    at: Mapped[datetime]
