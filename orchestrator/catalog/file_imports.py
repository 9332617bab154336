"""Files of prompts and goldens that were sent from another machine: stored, so that specs can name them by digest."""

from pathlib import Path

from pydantic import Field
from sqlalchemy import select

from orchestrator.catalog.imported_artifacts import FileName, name_it
from orchestrator.catalog.text_files import safe_name
from orchestrator.catalog.uploads import ANYBODY, Sender, Uploads
from orchestrator.model.specs import Digest, Strict
from orchestrator.results.text_files import FILE_LIMIT, TextFile, check
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact


class FileImport(Strict):
    """Take in a file of prompts or a golden that was uploaded; specs then name it by its digest."""

    upload: Digest = Field(description="Of the uploaded file.")
    name: TextFile = Field(description="What it is for: prompts, or golden.")
    file_name: FileName = Field(description="What the file is called; tools see it under a safe form of that name.")


class FileImports:
    """Takes uploaded text files into the store."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._settings = settings
        self._database = database
        self._store = store

    def take_in(self, request: FileImport, sender: Sender = ANYBODY) -> Artifact:
        """Store it once, however often it is sent; BadSpec if it is not whole, or is not such a file."""
        if (known := self._known(request)) is not None:
            return known
        uploads = Uploads(self._settings)
        content = uploads.content(request.upload, sender, most_bytes=FILE_LIMIT)
        check(request.name, content, "upload")
        stored = self._store.put_bytes(content)
        name = safe_name(Path(request.file_name))
        made = name_it(self._database, stored, name=request.name, file_name=name, facts={})
        uploads.discard(request.upload, sender)
        return made

    def _known(self, request: FileImport) -> Artifact | None:
        named = select(Artifact).where(Artifact.digest == request.upload, Artifact.name == request.name)
        with self._database.read() as session:
            found = session.scalars(named.order_by(Artifact.id).limit(1)).first()
        return found if found is not None and self._store.exists(request.upload) else None
