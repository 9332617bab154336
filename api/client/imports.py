"""The client's calls that take in what was made elsewhere."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from api.client.connection import Connection
from api.client.uploads import send
from api.documents.artifacts import ArtifactView


class ImportCalls:
    """One method a route; reached as `client.imports`."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def kcore(self, path: str, model: str | None = None, precision: str | None = None) -> ArtifactView:
        """Take in a kernel image under an allowed root of the server: a folder, `kcore.bin`, or an archive."""
        return self._made("kcores", {"path": path, "model": model, "precision": precision})

    def send_kcore(
        self,
        archive: Path,
        told: Callable[[int, int], None],
        model: str | None = None,
        precision: str | None = None,
    ) -> ArtifactView:
        """Send an archive, or the rest of it, and take in the kernel image in it; `told` hears how far it is."""
        digest = send(self._connection, archive, told)
        return self._made("kcores", {"upload": digest, "model": model, "precision": precision})

    def golden(self, **request: Any) -> ArtifactView:
        """Take in reference answers: `path`, `prompts` ({path} or {digest}) and `format`, or `job`; and the `model`."""
        return self._made("goldens", request)

    def _made(self, what: str, body: dict[str, Any]) -> ArtifactView:
        given = {name: value for name, value in body.items() if value is not None}
        answer = self._connection.post(f"/artifacts/{what}", given, timeout=None)
        return ArtifactView.model_validate(answer.json())
