"""Documents about artifacts."""

from datetime import datetime
from typing import Any

from pydantic import Field

from api.documents.base import View


class ArtifactView(View):
    """A stored file or tree."""

    id: int
    digest: str
    tree: bool
    name: str
    file_name: str
    size: int
    job_id: int | None
    attempt_id: int | None
    facts: dict[str, Any] | None = Field(default=None, description="If it was imported: its origin.")
    created_at: datetime


class EntryView(View):
    """One file of a stored tree. Bytes of a name that are not UTF-8 are shown as `\\xNN`; ask for it as shown."""

    path: str
    digest: str
    size: int
    executable: bool
