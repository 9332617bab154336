"""The row of an imported artifact: its name, and what is known of it."""

from typing import Annotated

from pydantic import StringConstraints
from sqlalchemy import select

from orchestrator.catalog.lookups import model_for
from orchestrator.storage.artifacts import Stored
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact, Document

FileName = Annotated[str, StringConstraints(min_length=1, max_length=255)]
"""What a file is called where it came from; stored under a safe form of it."""


def require_model(database: Database, name: str | None) -> None:
    """BadSpec if a model is named that is not registered; asked before anything is read."""
    if name is not None:
        with database.read() as session:
            model_for(session, name, field="model")


def name_it(database: Database, stored: Stored, *, name: str, file_name: str, facts: Document) -> Artifact:
    """Let other requests use it under this name by its digest; what was imported before only learns more."""
    known = {key: value for key, value in facts.items() if value is not None}
    with database.write() as session:
        database.serialise(session, "registry")
        imported = select(Artifact).where(
            Artifact.digest == stored.digest, Artifact.name == name, Artifact.job_id.is_(None)
        )
        row = session.scalars(imported.order_by(Artifact.id).limit(1)).first()
        if row is None:
            row = Artifact(
                digest=stored.digest, tree=stored.kind == "tree", name=name, file_name=file_name, size=stored.size,
                created_at=database.now(session),
            )  # fmt: skip
            session.add(row)
        row.facts = {**(row.facts or {}), **known}
        session.flush()
        return row
