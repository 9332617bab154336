"""The client's calls about artifacts."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from api.client.connection import Calls, segment
from api.client.uploads import send, send_bytes
from api.documents.artifacts import ArtifactView, EntryView
from api.documents.base import Page
from orchestrator.results.text_files import TextFile


class ArtifactCalls(Calls):
    """One method per route; every `Client` has them."""

    def artifacts(self, limit: int = 100, cursor: str | None = None, **filters: Any) -> Page[ArtifactView]:
        """A page of artifacts, newest first; filters are `job`, `name` and `digest`."""
        return self._connection.page(ArtifactView, "/artifacts", {"limit": limit, "cursor": cursor, **filters})

    def artifact(self, artifact: int) -> ArtifactView:
        """One artifact."""
        return ArtifactView.model_validate(self._connection.get(f"/artifacts/{segment(artifact)}").json())

    def entries(self, artifact: int) -> tuple[EntryView, ...]:
        """The files of a tree."""
        return (
            Page[EntryView].model_validate(self._connection.get(f"/artifacts/{segment(artifact)}/entries").json()).items
        )

    def content(self, artifact: int, path: str | None = None) -> Iterator[bytes]:
        """The bytes of a file; of a tree, one file by its `path`, or all of them as a .tar."""
        return self._connection.bytes(f"/artifacts/{segment(artifact)}/content", {"path": path})


class ImportCalls(Calls):
    """Imports files made elsewhere; available as `client.imports`."""

    def kcore(self, path: str, model: str | None = None, precision: str | None = None) -> ArtifactView:
        """Import a kernel image under an allowed root of the server: a folder, `kcore.bin`, or an archive."""
        return self._made("kcores", {"path": path, "model": model, "precision": precision})

    def send_kcore(
        self,
        archive: Path,
        told: Callable[[int, int], None],
        model: str | None = None,
        precision: str | None = None,
    ) -> ArtifactView:
        """Send an archive, or the rest of it, and import the kernel image in it; `told` is called with the progress."""
        digest = send(self._connection, archive, told)
        return self._made("kcores", {"upload": digest, "model": model, "precision": precision})

    def golden(self, **request: Any) -> ArtifactView:
        """Import reference answers: `path`, `prompts` ({path} or {digest}) and `format`, or `job`; and the `model`."""
        return self._made("goldens", request)

    def send_golden(self, content: bytes, file_name: str, **request: Any) -> ArtifactView:
        """Send a file of reference answers and import it; `request` as of `golden`, without `path`."""
        upload = send_bytes(self._connection, content)
        return self._made("goldens", {"upload": upload, "file_name": file_name, **request})

    def file(self, name: TextFile, content: bytes, file_name: str) -> str:
        """Store a file of prompts or a golden, and return the digest by which specs name it; what is stored already is
        not sent again."""
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        query = {"digest": digest, "name": name, "limit": 1}
        if not self._connection.page(ArtifactView, "/artifacts", query).items:
            upload = send_bytes(self._connection, content)
            self._made("files", {"upload": upload, "name": name, "file_name": file_name})
        return digest

    def _made(self, what: str, body: dict[str, Any]) -> ArtifactView:
        given = {name: value for name, value in body.items() if value is not None}
        answer = self._connection.post(f"/artifacts/{segment(what)}", given, timeout=None)
        return ArtifactView.model_validate(answer.json())
